import { expect, test } from 'vitest';
import { acknowledged, compose } from '../src/outbox';
import { layOut, type MessageRow } from '../src/rows';
import { GROUP_MS } from '../src/settings';
import { ann, bo, message, NOON, notice } from './events';

const kinds = (rows: ReturnType<typeof layOut>): string[] => rows.map((row) => row.kind);
const heads = (rows: ReturnType<typeof layOut>): boolean[] =>
  rows.filter((row): row is MessageRow => row.kind === 'message').map((row) => row.head);

test('a new day begins with a line of its own', () => {
  const rows = layOut([message(1), message(2, { time: NOON + 86_400_000 })], [], ann);
  expect(kinds(rows)).toEqual(['day', 'message', 'day', 'message']);
});

test('messages of one author within minutes form a group; a pause, another author or a notice ends it', () => {
  const late = NOON + GROUP_MS + 10;
  const events = [
    message(1),
    message(2),
    message(3, { user: bo }),
    message(4, { user: bo, time: late }),
    notice(5, 'left', bo),
    message(6, { time: late }),
  ];
  expect(heads(layOut(events, [], ann))).toEqual([true, false, true, true, true]);
});

test('a pending message keeps its key when the channel brings it back, and is shown once', () => {
  const entry = compose('x', 'r', 'hello', NOON + 50);
  const pending = layOut([message(1)], [entry], ann).at(-1);
  expect(pending).toMatchObject({ kind: 'message', state: 'pending', text: 'hello', offset: 0 });
  const both = layOut([message(1), message(2, { id: 'x', text: 'hello' })], [entry], ann);
  expect(kinds(both)).toEqual(['day', 'message', 'message']);
  expect(both.at(-1)).toMatchObject({ key: pending?.key, state: 'sent', offset: 2 });
});

test('an acknowledged message shows its offset and number before the channel brings it', () => {
  const entry = acknowledged(compose('x', 'r', 'hello', NOON), { offset: 9, number: 7, time: NOON + 1 });
  expect(layOut([], [entry], ann).at(-1)).toMatchObject({ state: 'sent', offset: 9, number: 7 });
});

test('the same id by another author is another message', () => {
  expect(kinds(layOut([message(1, { id: 'x' }), message(2, { id: 'x', user: bo })], [], ann))).toHaveLength(3);
});

test('events of unknown types are not drawn, and keys never repeat', () => {
  const back = [message(1), message(2, { time: NOON + 86_400_000 }), message(3), { type: 'other', offset: 4 } as const];
  const rows = layOut(back, [], ann);
  expect(kinds(rows)).toEqual(['day', 'message', 'day', 'message', 'day', 'message']);
  expect(new Set(rows.map((row) => row.key)).size).toBe(rows.length);
});
