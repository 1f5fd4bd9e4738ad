import type { User } from './protocol';

/** One connection in a room's presence. */
export interface Presence {
  readonly client: string;
  readonly user: User;
}

interface Change {
  readonly presence: Presence;
  readonly here: boolean;
}

/**
 * Who is here, counted by connection: one person with a phone and two tabs is one person, and leaves when the
 * last of them does. A snapshot and the pushes around it travel separately, so pushes heard while a snapshot is
 * under way are applied over it again: applying twice changes nothing, missing one leaves a ghost.
 */
export class Roster {
  #clients = new Map<string, User>();
  #since: Change[] | null = null;

  /** People here, each once, by name; `first` (oneself) leads. */
  people(first: string): User[] {
    const users = new Map<string, User>();
    for (const user of this.#clients.values()) if (!users.has(user.id)) users.set(user.id, user);
    const rank = (user: User): number => (user.id === first ? 0 : 1);
    return [...users.values()].sort(
      (a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1),
    );
  }

  join(presence: Presence): void {
    this.#since?.push({ presence, here: true });
    this.#clients.set(presence.client, presence.user);
  }

  leave(presence: Presence): void {
    this.#since?.push({ presence, here: false });
    this.#clients.delete(presence.client);
  }

  /** A snapshot was asked for; remember what is pushed from here on. */
  expect(): void {
    this.#since = [];
  }

  /** The snapshot arrived: take it, then apply what was pushed meanwhile. */
  settle(snapshot: readonly Presence[]): void {
    const since = this.#since ?? [];
    this.#since = null;
    this.#clients = new Map(snapshot.map((presence) => [presence.client, presence.user]));
    for (const { presence, here } of since) {
      if (here) this.#clients.set(presence.client, presence.user);
      else this.#clients.delete(presence.client);
    }
  }

  /** The snapshot will not come; what pushes said stands. */
  abandon(): void {
    this.#since = null;
  }

  /** Nobody is known to be here (not subscribed). */
  clear(): void {
    this.#clients.clear();
    this.#since = null;
  }
}
