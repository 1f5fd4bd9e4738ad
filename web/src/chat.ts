import { Commands } from './commands';
import { Connection } from './connection';
import { Courier } from './courier';
import type { User } from './protocol';
import { Rooms } from './rooms';
import type { Session } from './session';
import { ROOM_LIST_MS, type Addresses } from './settings';
import type { Storage } from './storage';

/** Everything that runs while somebody is signed in. Made in one place, closed in reverse. */
export class Chat {
  readonly connection: Connection;
  readonly courier: Courier;
  readonly rooms: Rooms;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #onVisible = (): void => {
    if (document.hidden) return;
    if (this.rooms.current !== null && this.rooms.active.has(this.rooms.current)) this.rooms.select(this.rooms.current);
    this.#refresh();
  };

  constructor(
    readonly me: User,
    addresses: Addresses,
    session: Session,
    storage: Storage,
  ) {
    this.connection = new Connection(addresses.websocket, session, addresses.version);
    const commands = new Commands(this.connection);
    this.courier = new Courier(commands, storage, me);
    this.rooms = new Rooms(this.connection, commands, this.courier, storage, me);
    this.connection.changed.listen(() => {
      this.courier.setOnline(this.connection.online);
      if (this.connection.online) this.#refresh();
    });
    this.#timer = setInterval(() => this.#refresh(), ROOM_LIST_MS);
    document.addEventListener('visibilitychange', this.#onVisible);
  }

  start(): void {
    this.connection.connect();
  }

  /** Stop; what is unsent stays stored. */
  close(): void {
    document.removeEventListener('visibilitychange', this.#onVisible);
    clearInterval(this.#timer);
    this.courier.close();
    this.rooms.close();
    this.connection.close();
  }

  /** Stop and leave nothing of the person on this device. */
  clear(): void {
    this.close();
    this.rooms.clear();
    this.courier.clear();
  }

  #refresh(): void {
    if (this.connection.online && !document.hidden) void this.rooms.refresh();
  }
}
