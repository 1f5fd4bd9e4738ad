import { expect, test } from 'vitest';
import * as outbox from '../src/outbox';
import { Refusal } from '../src/refusal';
import { ann, bo, message } from './events';

const entry = (id: string, room = 'r'): outbox.Entry => outbox.compose(id, room, `text of ${id}`, 1000);
const busy = new Refusal(503, 'Unavailable', true);

test('one message per room is sent at a time, the oldest first', () => {
  const entries = [entry('a'), entry('b'), entry('c', 'other')];
  expect(outbox.due(entries, 0).map((held) => held.id)).toEqual(['a', 'c']);
  const sending = [outbox.sent(entry('a')), entry('b')];
  expect(outbox.due(sending, 0)).toEqual([]);
});

test('a failed or acknowledged message does not hold up the ones behind it', () => {
  const failed = outbox.refused(outbox.sent(entry('a')), new Refusal(400, 'Bad', false), 0, 0);
  const done = outbox.acknowledged(entry('b'), { offset: 1, number: 1, time: 1 });
  expect(outbox.due([failed, done, entry('c')], 0).map((held) => held.id)).toEqual(['c']);
});

test('a temporary refusal waits longer each time and keeps the id', () => {
  let held = entry('a');
  const delays: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    held = outbox.refused(outbox.sent(held), busy, 5000, 0.999999);
    delays.push(held.dueAt - 5000);
    expect(held).toMatchObject({ id: 'a', state: 'waiting' });
    expect(outbox.due([held], held.dueAt - 1)).toEqual([]);
    expect(outbox.nextDue([held])).toBe(held.dueAt);
  }
  expect(delays).toEqual([800, 1600, 3200, 6400, 12800, 20000, 20000]);
});

test('jitter spreads a delay between half and whole', () => {
  expect(outbox.refused(outbox.sent(entry('a')), busy, 0, 0).dueAt).toBe(400);
});

test('a permanent refusal fails the message with its reason', () => {
  const failed = outbox.refused(outbox.sent(entry('a')), new Refusal(413, 'Too long', false), 0, 0);
  expect(failed).toMatchObject({ state: 'failed', reason: 'Too long', code: 413 });
  expect(outbox.nextDue([failed])).toBeNull();
});

test('after a reconnect what was on its way is sent again with the same id', () => {
  const again = outbox.revived(outbox.sent(entry('a')));
  expect(again).toMatchObject({ id: 'a', state: 'waiting', dueAt: 0, attempts: 0 });
  const failed = outbox.refused(entry('b'), new Refusal(403, 'No', false), 0, 0);
  expect(outbox.revived(failed)).toBe(failed);
});

test('a retry by the author keeps the id, except after a conflict about it', () => {
  const failed = outbox.refused(entry('a'), new Refusal(403, 'No', false), 0, 0);
  expect(outbox.retried(failed, 'fresh')).toMatchObject({ id: 'a', state: 'waiting', reason: '' });
  const taken = outbox.refused(entry('a'), new Refusal(409, 'Taken', false), 0, 0);
  expect(outbox.retried(taken, 'fresh').id).toBe('fresh');
});

test('an echo is known by id and author together', () => {
  expect(outbox.isEcho(entry('x'), message(1, { id: 'x', user: ann }), ann.id)).toBe(true);
  expect(outbox.isEcho(entry('x'), message(1, { id: 'x', user: bo }), ann.id)).toBe(false);
  expect(outbox.isEcho(entry('x'), message(1, { id: 'y', user: ann }), ann.id)).toBe(false);
});

test('an acknowledged message is settled once the timeline has reached its offset', () => {
  const done = outbox.acknowledged(entry('a'), { offset: 7, number: 3, time: 1 });
  expect(outbox.isSettled(done, 6)).toBe(false);
  expect(outbox.isSettled(done, 7)).toBe(true);
  expect(outbox.isSettled(entry('a'), 100)).toBe(false);
});

test('a stored message on its way comes back as waiting, a failed one as failed', () => {
  expect(outbox.decodeEntry(outbox.encodeEntry(outbox.sent(entry('a'))))).toEqual(entry('a'));
  const failed = outbox.refused(entry('a'), new Refusal(403, 'No', false), 0, 0);
  expect(outbox.decodeEntry(outbox.encodeEntry(failed))).toMatchObject({ state: 'failed', reason: 'No', code: 403 });
});

test('what is not a stored message is not taken for one', () => {
  for (const stored of ['', 'null', '7', '{}', '{"v":2}', '{"v":1,"id":1,"room":"r","text":"t","created":1}']) {
    expect(outbox.decodeEntry(stored)).toBeNull();
  }
});
