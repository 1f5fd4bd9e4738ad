import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Commands } from '../src/commands';
import { Courier, sweep } from '../src/courier';
import { OUTBOX_ENTRIES } from '../src/settings';
import { memoryStorage, type Storage } from '../src/storage';
import { ann, message } from './events';

interface Call {
  readonly id: string;
  readonly text: string;
  resolve(answer: object): void;
  reject(error: object): void;
}

/** A chat service whose answers the test gives by hand. */
function service(): { calls: Call[]; commands: Commands } {
  const calls: Call[] = [];
  const rpc = (_method: string, request: object): Promise<unknown> =>
    new Promise((resolve, reject) => calls.push({ ...(request as { id: string; text: string }), resolve, reject }));
  return { calls, commands: new Commands({ rpc }) };
}

const settled = (): Promise<void> => vi.advanceTimersByTimeAsync(0).then(() => undefined);
const states = (courier: Courier): string[] => courier.entries('r').map((entry) => entry.state);
const stored = (storage: Storage): number => storage.keys('parley.outbox.').length;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('nothing is sent before there is a connection, and everything in order afterwards', async () => {
  const { calls, commands } = service();
  const courier = new Courier(commands, memoryStorage(), ann);
  courier.post('r', 'one');
  courier.post('r', 'two');
  expect(calls).toEqual([]);
  courier.setOnline(true);
  expect(calls.map((call) => call.text)).toEqual(['one']);
  calls[0]?.resolve({ offset: 1, number: 1, time: 1 });
  await settled();
  expect(calls.map((call) => call.text)).toEqual(['one', 'two']);
  expect(states(courier)).toEqual(['acknowledged', 'sending']);
});

test('a lost answer is asked for again after the reconnect, with the same id', async () => {
  const { calls, commands } = service();
  const courier = new Courier(commands, memoryStorage(), ann);
  courier.setOnline(true);
  courier.post('r', 'one');
  courier.setOnline(false);
  calls[0]?.reject({ code: 2, message: 'transport closed' });
  await settled();
  expect(states(courier)).toEqual(['waiting']);
  courier.setOnline(true);
  expect(calls.map((call) => call.id)).toEqual([calls[0]?.id, calls[0]?.id]);
});

test('an echo heard before the answer settles the message, and the answer then changes nothing', async () => {
  const { calls, commands } = service();
  const storage = memoryStorage();
  const courier = new Courier(commands, storage, ann);
  courier.setOnline(true);
  courier.post('r', 'one');
  courier.heard('r', [message(4, { id: calls[0]?.id ?? '' })], 4);
  expect(courier.entries('r')).toEqual([]);
  calls[0]?.resolve({ offset: 4, number: 4, time: 1 });
  await settled();
  expect(courier.entries('r')).toEqual([]);
  expect(stored(storage)).toBe(0);
});

test('unacknowledged messages survive the page, acknowledged ones need not', async () => {
  const storage = memoryStorage();
  const first = service();
  const before = new Courier(first.commands, storage, ann);
  before.setOnline(true);
  before.post('r', 'one');
  before.post('r', 'two');
  first.calls[0]?.resolve({ offset: 1, number: 1, time: 1 });
  await settled();
  before.close();
  const second = service();
  const after = new Courier(second.commands, storage, ann);
  expect(after.entries('r').map((entry) => entry.text)).toEqual(['two']);
  after.setOnline(true);
  expect(second.calls[0]?.id).toBe(first.calls[1]?.id);
});

test('a busy service is asked again after a while, a refusal is left to the author', async () => {
  const { calls, commands } = service();
  const courier = new Courier(commands, memoryStorage(), ann);
  courier.setOnline(true);
  courier.post('r', 'one');
  calls[0]?.reject({ code: 503, message: 'unavailable', temporary: true });
  await vi.advanceTimersByTimeAsync(900);
  expect(calls).toHaveLength(2);
  calls[1]?.reject({ code: 400, message: 'bad text' });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(states(courier)).toEqual(['failed']);
  expect(calls).toHaveLength(2);
  courier.retry(calls[0]?.id ?? '');
  expect(calls[2]?.id).toBe(calls[0]?.id);
});

test('the outbox has an end', () => {
  const courier = new Courier(service().commands, memoryStorage(), ann);
  for (let count = 0; count < OUTBOX_ENTRIES; count += 1) expect(courier.post('r', 'x')).toBe(true);
  expect(courier.post('r', 'one too many')).toBe(false);
});

test('signing out leaves nothing behind, and old messages of others are swept', () => {
  const storage = memoryStorage();
  const courier = new Courier(service().commands, storage, ann);
  courier.post('r', 'secret');
  sweep(storage, Date.now() + 1000, 5000);
  expect(stored(storage)).toBe(1);
  courier.clear();
  expect(stored(storage)).toBe(0);
  new Courier(service().commands, storage, ann).post('r', 'old');
  sweep(storage, Date.now() + 6000, 5000);
  expect(stored(storage)).toBe(0);
});
