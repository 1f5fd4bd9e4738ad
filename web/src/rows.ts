import type { Entry } from './outbox';
import type { RoomEvent, User } from './protocol';
import { GROUP_MS } from './settings';

/** One line of the log as the reader sees it. `key` is stable: a pending message keeps it when it is acknowledged. */
export type Row = DayRow | NoticeRow | MessageRow;

export interface DayRow {
  readonly kind: 'day';
  readonly key: string;
  readonly time: number;
}

export interface NoticeRow {
  readonly kind: 'notice';
  readonly key: string;
  readonly time: number;
  readonly what: 'joined' | 'left' | 'created';
  readonly user: User;
}

export interface MessageRow {
  readonly kind: 'message';
  readonly key: string;
  readonly time: number;
  readonly user: User;
  readonly text: string;
  readonly id: string;
  readonly offset: number;
  readonly number: number;
  readonly state: 'pending' | 'sent' | 'failed';
  readonly reason: string;
  /** Begins a group: shows avatar and name. */
  readonly head: boolean;
}

/**
 * Lay out a room: logged events in order, then this device's own messages that the log has not brought back yet.
 * A message is one row, whether it is known from the outbox, from the channel or from both.
 */
export function layOut(events: readonly RoomEvent[], entries: readonly Entry[], me: User): Row[] {
  const sheet = new Sheet();
  for (const event of events) {
    if (event.type === 'other') continue;
    if (event.type === 'message') {
      const { time, user, text, id, offset, number } = event;
      sheet.message({ key: keyOf(user.id, id, offset), time, user, text, id, offset, number, state: 'sent', reason: '' });
    } else {
      sheet.notice(`e:${event.offset}`, event.time, event.type, event.user);
    }
  }
  for (const entry of entries) sheet.message(pending(entry, me));
  return sheet.rows;
}

function keyOf(user: string, id: string, offset: number): string {
  return id === '' ? `e:${offset}` : `m:${user}:${id}`;
}

function pending(entry: Entry, me: User): Omit<MessageRow, 'kind' | 'head'> {
  const state = entry.state === 'failed' ? 'failed' : entry.state === 'acknowledged' ? 'sent' : 'pending';
  const { id, text, reason, created, acknowledgement } = entry;
  const offset = acknowledgement?.offset ?? 0;
  const number = acknowledgement?.number ?? 0;
  const time = acknowledgement?.time || created;
  return { key: keyOf(me.id, id, 0), time, user: me, text, id, offset, number, state, reason };
}

class Sheet {
  readonly rows: Row[] = [];
  readonly #seen = new Set<string>();
  #day = '';

  notice(key: string, time: number, what: NoticeRow['what'], user: User): void {
    this.#startDay(time);
    this.rows.push({ kind: 'notice', key, time, what, user });
  }

  message(message: Omit<MessageRow, 'kind' | 'head'>): void {
    if (this.#seen.has(message.key)) return;
    this.#seen.add(message.key);
    this.#startDay(message.time);
    const above = this.rows.at(-1);
    const grouped =
      above?.kind === 'message' && above.user.id === message.user.id && message.time - above.time < GROUP_MS;
    this.rows.push({ kind: 'message', ...message, head: !grouped });
  }

  #startDay(time: number): void {
    const day = new Date(time).toDateString();
    if (day === this.#day) return;
    this.#day = day;
    // A day can come back when clocks disagree; its second line needs a key of its own.
    const key = this.#seen.has(`d:${day}`) ? `d:${day}:${this.rows.length}` : `d:${day}`;
    this.#seen.add(key);
    this.rows.push({ kind: 'day', key, time });
  }
}
