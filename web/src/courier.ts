import type { Commands } from './commands';
import * as outbox from './outbox';
import type { Entry } from './outbox';
import type { RoomEvent, User } from './protocol';
import { refusalOf } from './refusal';
import { OUTBOX_ENTRIES } from './settings';
import { Signal } from './signal';
import type { Storage } from './storage';
import { newMessageId } from './text';

const PREFIX = 'parley.outbox.';

/** Drop unsent messages of people who have not come back to this device for `age` ms (guests never can). */
export function sweep(storage: Storage, now: number, age: number): void {
  for (const key of storage.keys(PREFIX)) {
    const entry = outbox.decodeEntry(storage.get(key) ?? '');
    if (entry === null || entry.created < now - age) storage.remove(key);
  }
}

/**
 * Carries the outbox: sends what is due, stores what is unacknowledged, and forgets what the channel brought back.
 * Every entry has a storage key of its own, so that two tabs of one person do not overwrite each other; both may
 * send the same entry after a reload, which its id makes harmless.
 */
export class Courier {
  readonly #commands: Commands;
  readonly #storage: Storage;
  readonly #me: User;
  readonly #prefix: string;
  #entries: Entry[] = [];
  #online = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Emitted with the room whose entries changed. */
  readonly changed = new Signal<string>();

  constructor(commands: Commands, storage: Storage, me: User) {
    this.#commands = commands;
    this.#storage = storage;
    this.#me = me;
    this.#prefix = `${PREFIX}${me.id}.`;
    for (const key of storage.keys(this.#prefix)) {
      const entry = outbox.decodeEntry(storage.get(key) ?? '');
      if (entry !== null) this.#entries.push(entry);
    }
    this.#entries.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  }

  /** This device's messages of a room that the log has not brought back, oldest first. */
  entries(room: string): Entry[] {
    return this.#entries.filter((entry) => entry.room === room);
  }

  /** Messages not acknowledged yet, in all rooms. */
  get unfinished(): number {
    return this.#entries.filter((entry) => entry.state !== 'acknowledged').length;
  }

  /** Accept a message to send; false when the outbox is full. */
  post(room: string, text: string): boolean {
    if (this.unfinished >= OUTBOX_ENTRIES) return false;
    // Never before the last one, whatever the clock does: `created` is the order after a reload.
    const now = Math.max(Date.now(), (this.#entries.at(-1)?.created ?? 0) + 1);
    const entry = outbox.compose(newMessageId(), room, text, now);
    this.#entries.push(entry);
    this.#store(entry);
    this.changed.emit(room);
    this.#pump();
    return true;
  }

  /** Try a failed message again. */
  retry(id: string): void {
    const entry = this.#entries.find((held) => held.id === id && held.state === 'failed');
    if (entry === undefined) return;
    const again = outbox.retried(entry, newMessageId());
    if (again.id !== entry.id) this.#storage.remove(this.#prefix + entry.id);
    this.#swap(entry, again);
    this.#pump();
  }

  /** Forget a failed message. */
  discard(id: string): void {
    const entry = this.#entries.find((held) => held.id === id && held.state === 'failed');
    if (entry !== undefined) this.#forget(entry);
  }

  /** The connection came or went. On coming, everything unacknowledged is sent again with its id. */
  setOnline(online: boolean): void {
    if (online === this.#online) return;
    this.#online = online;
    if (online) this.#entries = this.#entries.map(outbox.revived);
    this.#pump();
  }

  /** An event of a room was read: if it is one of ours come back, it is not pending any more. */
  heard(room: string, events: readonly RoomEvent[], last: number): void {
    for (const entry of this.entries(room)) {
      const echoed = events.some((event) => outbox.isEcho(entry, event, this.#me.id));
      if (echoed || outbox.isSettled(entry, last)) this.#forget(entry);
    }
  }

  /** Stop, keeping what is stored for the next time. */
  close(): void {
    this.#online = false;
    clearTimeout(this.#timer);
  }

  /** Stop and drop what is stored: after an explicit sign-out nothing of the person stays on the device. */
  clear(): void {
    this.close();
    for (const key of this.#storage.keys(this.#prefix)) this.#storage.remove(key);
    this.#entries = [];
  }

  #pump(): void {
    clearTimeout(this.#timer);
    if (!this.#online) return;
    const now = Date.now();
    for (const entry of outbox.due(this.#entries, now)) void this.#send(entry);
    const next = outbox.nextDue(this.#entries);
    if (next !== null) this.#timer = setTimeout(() => this.#pump(), Math.max(0, next - now));
  }

  async #send(entry: Entry): Promise<void> {
    const sending = outbox.sent(entry);
    this.#swap(entry, sending);
    let outcome: Entry;
    try {
      const acknowledgement = await this.#commands.send(entry.room, entry.id, entry.text);
      outcome = outbox.acknowledged(sending, acknowledgement);
    } catch (error) {
      outcome = outbox.refused(sending, refusalOf(error), Date.now(), Math.random());
    }
    // By id, not by object: a reconnect may have revived it meanwhile, and an echo may have settled it.
    const held = this.#entries.find((other) => other.id === entry.id);
    if (held === undefined) return this.#pump();
    // The answer of an attempt that a reconnect overtook counts if it is good news; bad news is that attempt's alone.
    if (held !== sending && outcome.state !== 'acknowledged') return;
    this.#swap(held, outcome);
    this.#pump();
  }

  #swap(entry: Entry, next: Entry): void {
    const index = this.#entries.indexOf(entry);
    if (index < 0) return;
    this.#entries[index] = next;
    if (next.state === 'acknowledged') this.#storage.remove(this.#prefix + next.id);
    else if (next.state !== entry.state || next.id !== entry.id) this.#store(next);
    this.changed.emit(next.room);
  }

  #store(entry: Entry): void {
    this.#storage.set(this.#prefix + entry.id, outbox.encodeEntry(entry));
  }

  #forget(entry: Entry): void {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#storage.remove(this.#prefix + entry.id);
    this.changed.emit(entry.room);
    this.#pump();
  }
}
