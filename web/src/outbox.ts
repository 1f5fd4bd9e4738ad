import { backoff, type Refusal } from './refusal';
import type { Acknowledgement, RoomEvent } from './protocol';
import { RETRY_FIRST_MS, RETRY_LAST_MS } from './settings';

/**
 * One message between "Enter pressed" and "heard on the channel".
 *
 * waiting      to be sent at `dueAt` or later
 * sending      a command is on its way; whether it arrived is unknown until the answer
 * acknowledged on disk at `offset`; kept until the channel brings the event itself
 * failed       refused for good; only the author can decide to try again
 */
export interface Entry {
  readonly id: string;
  readonly room: string;
  readonly text: string;
  /** ms since the epoch, by this device. Also the order of sending. */
  readonly created: number;
  readonly state: 'waiting' | 'sending' | 'acknowledged' | 'failed';
  readonly attempts: number;
  readonly dueAt: number;
  readonly reason: string;
  readonly code: number;
  readonly acknowledgement: Acknowledgement | null;
}

/** A fresh entry, due at once. */
export function compose(id: string, room: string, text: string, now: number): Entry {
  const fresh = { attempts: 0, dueAt: 0, reason: '', code: 0, acknowledgement: null };
  return { id, room, text, created: now, state: 'waiting', ...fresh };
}

/**
 * The entries to send now: at most one per room, its oldest unfinished one, so that a room reads in the order
 * in which it was typed even when an earlier message has to be repeated.
 */
export function due(entries: readonly Entry[], now: number): Entry[] {
  return heads(entries).filter((entry) => entry.state === 'waiting' && entry.dueAt <= now);
}

/** When something next becomes due, in ms since the epoch; null when nothing waits. */
export function nextDue(entries: readonly Entry[]): number | null {
  const times = heads(entries).filter((entry) => entry.state === 'waiting').map((entry) => entry.dueAt);
  return times.length === 0 ? null : Math.min(...times);
}

function heads(entries: readonly Entry[]): Entry[] {
  const first = new Map<string, Entry>();
  for (const entry of entries) {
    if (entry.state !== 'waiting' && entry.state !== 'sending') continue;
    if (!first.has(entry.room)) first.set(entry.room, entry);
  }
  return [...first.values()];
}

/** The command is on its way. */
export function sent(entry: Entry): Entry {
  return { ...entry, state: 'sending', attempts: entry.attempts + 1 };
}

/** The service has it on disk. */
export function acknowledged(entry: Entry, acknowledgement: Acknowledgement): Entry {
  return { ...entry, state: 'acknowledged', acknowledgement, reason: '', code: 0 };
}

/** The command was refused or lost: repeat it later with the same id, or give it back to its author. */
export function refused(entry: Entry, refusal: Refusal, now: number, random: number): Entry {
  if (!refusal.temporary) return { ...entry, state: 'failed', reason: refusal.message, code: refusal.code };
  const delay = backoff(Math.max(1, entry.attempts), RETRY_FIRST_MS, RETRY_LAST_MS, random);
  return { ...entry, state: 'waiting', dueAt: now + delay, reason: refusal.message, code: refusal.code };
}

/** The connection is new: whatever waits is due, whatever was on its way is unknown and repeated with its id. */
export function revived(entry: Entry): Entry {
  if (entry.state !== 'waiting' && entry.state !== 'sending') return entry;
  return { ...entry, state: 'waiting', dueAt: 0, attempts: 0 };
}

/**
 * The author asks to try a failed message again. The id stays, so that a message that did arrive is not doubled;
 * only after a conflict (409: the id is taken by other words) does it need `freshId`.
 */
export function retried(entry: Entry, freshId: string): Entry {
  const id = entry.code === 409 ? freshId : entry.id;
  return { ...entry, id, state: 'waiting', dueAt: 0, attempts: 0, reason: '', code: 0 };
}

/** Whether `event` is this entry, come back by the ring. Ids are the client's, so they count only with their author. */
export function isEcho(entry: Entry, event: RoomEvent, author: string): boolean {
  return event.type === 'message' && event.user.id === author && event.id === entry.id;
}

/**
 * Whether the entry can be forgotten: acknowledged at an offset which the timeline has reached. (It may have been
 * paged out or trimmed since, so reaching is enough.)
 */
export function isSettled(entry: Entry, last: number): boolean {
  return entry.acknowledgement !== null && entry.acknowledgement.offset <= last;
}

/** What is stored of an entry; an entry on its way is stored as waiting, for nobody will hear its answer. */
export function encodeEntry(entry: Entry): string {
  const { id, room, text, created, reason, code } = entry;
  return JSON.stringify({ v: 1, id, room, text, created, reason, code, failed: entry.state === 'failed' });
}

/** Read a stored entry; null when it is not one (another version, or damaged). */
export function decodeEntry(stored: string): Entry | null {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(stored) as Record<string, unknown>;
  } catch {
    return null; // not JSON: whatever it is, it is not ours
  }
  const { id, room, text, created, reason, code } = value ?? {};
  if (value?.['v'] !== 1 || typeof id !== 'string' || typeof room !== 'string') return null;
  if (typeof text !== 'string' || typeof created !== 'number') return null;
  const entry = compose(id, room, text, created);
  if (value['failed'] !== true) return entry;
  return { ...entry, state: 'failed', reason: String(reason ?? ''), code: Number(code ?? 0) };
}
