import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Commands } from '../src/commands';
import type { Connection } from '../src/connection';
import { Room } from '../src/room';
import { ann } from './events';

type Listener = (ctx: unknown) => void;

/** A channel as the SDK shows it, driven by the test. */
class Channel {
  state = 'unsubscribed';
  readonly #listeners = new Map<string, Listener>();
  on(name: string, listener: Listener): void {
    this.#listeners.set(name, listener);
  }
  subscribe(): void {
    this.state = 'subscribing';
  }
  presence(): Promise<unknown> {
    return Promise.resolve({ clients: { c1: { client: 'c1', user: ann.id, connInfo: { name: ann.name } } } });
  }
  subscribed(offset: number, recovery: { wasRecovering?: boolean; recovered?: boolean } = {}): void {
    this.state = 'subscribed';
    this.emit('subscribed', { streamPosition: { offset, epoch: 'e' }, wasRecovering: false, recovered: false, ...recovery });
  }
  hear(offset: number): void {
    this.emit('publication', { data: wire(offset), offset });
  }
  emit(name: string, ctx: unknown): void {
    this.#listeners.get(name)?.(ctx);
  }
}

/** The log behind room.history: 50 a page, of which only the first `readable` events can be read yet. */
class Log {
  length = 0;
  readable = Infinity;
  failures = 0;
  readonly asked: object[] = [];

  readonly rpc = (_method: string, request: object): Promise<unknown> => {
    this.asked.push(request);
    if (this.failures > 0) {
      this.failures -= 1;
      return Promise.reject({ code: 503, message: 'unavailable', temporary: true });
    }
    const { before = Infinity, after } = request as { before?: number; after?: number };
    const end = Math.min(this.length, this.readable, before - 1);
    const first = after === undefined ? Math.max(1, end - 49) : after + 1;
    const last = after === undefined ? end : Math.min(end, after + 50);
    const events = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => wire(first + index));
    return Promise.resolve({ events, more: first > 1 });
  };
}

function wire(offset: number): object {
  return { v: 1, type: 'message', room: 'r', offset, number: offset, id: `m${offset}`, user: ann, text: 't', time: 1 };
}

function open(length: number): { room: Room; channel: Channel; log: Log } {
  const channel = new Channel();
  const log = new Log();
  log.length = length;
  const connection = { subscription: () => channel, release: () => undefined } as unknown as Connection;
  return { room: new Room('r', connection, new Commands(log)), channel, log };
}

const soon = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const range = (room: Room): number[] => [room.timeline.first, room.timeline.last, room.timeline.events.length];

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('the log is read after the subscription stands, and live events in between count once', async () => {
  const { room, channel, log } = open(120);
  expect(log.asked).toEqual([]);
  channel.subscribed(120);
  log.length = 121;
  channel.hear(121);
  await soon();
  expect(range(room)).toEqual([71, 121, 51]);
  expect(room.roster.people('').map((user) => user.name)).toEqual(['Ann']);
});

test('a log that answers from behind is asked until the subscription is reached', async () => {
  const { room, channel, log } = open(100);
  log.readable = 97;
  channel.subscribed(100);
  await soon();
  expect(range(room)).toEqual([48, 97, 50]);
  log.readable = Infinity;
  await soon(1000);
  expect(range(room)).toEqual([48, 100, 53]);
});

test('a recovered subscription reads nothing again', async () => {
  const { room, channel, log } = open(10);
  channel.subscribed(10);
  await soon();
  const asked = log.asked.length;
  channel.emit('subscribing', {});
  log.length = 12;
  channel.subscribed(10, { wasRecovering: true, recovered: true });
  channel.hear(11);
  channel.hear(12);
  await soon();
  expect(range(room)).toEqual([1, 12, 12]);
  expect(log.asked).toHaveLength(asked);
});

test('a failed recovery reads the newest page and leaves no hole', async () => {
  const { room, channel, log } = open(10);
  channel.subscribed(10);
  await soon();
  channel.emit('subscribing', {});
  log.length = 200;
  channel.subscribed(200, { wasRecovering: true, recovered: false });
  await soon();
  expect(range(room)).toEqual([151, 200, 50]);
  expect(room.timeline.more).toBe(true);
});

test('a log that ends before what is held is another log', async () => {
  const { room, channel, log } = open(40);
  channel.subscribed(40);
  await soon();
  channel.emit('subscribing', {});
  log.length = 3;
  channel.subscribed(3, { wasRecovering: true, recovered: false });
  await soon();
  expect(range(room)).toEqual([1, 3, 3]);
});

test('a live event that skips one is repaired from the log', async () => {
  const { room, channel, log } = open(5);
  channel.subscribed(5);
  await soon();
  log.length = 8;
  channel.hear(8);
  await soon();
  expect(range(room)).toEqual([1, 8, 8]);
});

test('a busy log is asked again, one that stays busy is reported, and the reader can resume', async () => {
  const { room, channel, log } = open(5);
  log.failures = 2;
  channel.subscribed(5);
  await soon(5000);
  expect(range(room)).toEqual([1, 5, 5]);
  expect(room.trouble).toBe('');

  const other = open(5);
  other.log.failures = 1000;
  other.channel.subscribed(5);
  await soon(300_000);
  expect(other.room.trouble).toBe('Messages could not be read: Unavailable');
  other.log.failures = 0;
  other.room.resume();
  await soon();
  expect(range(other.room)).toEqual([1, 5, 5]);
  expect(other.room.trouble).toBe('');
});

test('older pages are read until the log begins', async () => {
  const { room, channel } = open(120);
  channel.subscribed(120);
  await soon();
  await room.loadOlder();
  expect(range(room)).toEqual([21, 120, 100]);
  await room.loadOlder();
  expect(range(room)).toEqual([1, 120, 120]);
  expect(room.timeline.more).toBe(false);
});

test('being put out by the gateway ends the room, closing it oneself does not', () => {
  const { room, channel } = open(1);
  const ended: number[] = [];
  room.ended.listen((refusal) => ended.push(refusal.code));
  channel.emit('unsubscribed', { code: 0, reason: 'unsubscribe called' });
  channel.emit('unsubscribed', { code: 2, reason: 'client closed' });
  expect(ended).toEqual([]);
  channel.emit('unsubscribed', { code: 403, reason: 'not a member' });
  expect(ended).toEqual([403]);
});
