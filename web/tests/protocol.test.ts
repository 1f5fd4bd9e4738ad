import { expect, test } from 'vitest';
import { parseEvent, parseHistory, parseRooms } from '../src/protocol';
import { backoff, Refusal, refusalOf } from '../src/refusal';
import { resolveAddresses } from '../src/settings';
import { statusOf, type Signs } from '../src/status';
import { byteLength, cleanText, newMessageId } from '../src/text';
import { hueOf, initialsOf } from '../src/view/avatar';

const wire = { v: 1, type: 'message', room: 'r', offset: 3, number: 2, id: 'x', user: { id: 'u1', name: 'Ann' }, text: 'hi', time: 5 };

test('a well-formed message is read', () => {
  expect(parseEvent(wire)).toEqual({ type: 'message', offset: 3, number: 2, id: 'x', user: wire.user, text: 'hi', time: 5 });
});

test('events of other types or shapes keep their offset; without one they are nothing', () => {
  expect(parseEvent({ ...wire, type: 'edited' })).toEqual({ type: 'other', offset: 3 });
  expect(parseEvent({ ...wire, text: 7 })).toEqual({ type: 'other', offset: 3 });
  expect(parseEvent({ ...wire, user: null })).toEqual({ type: 'other', offset: 3 });
  for (const junk of [null, 7, 'x', [], {}, { type: 'typing' }, { ...wire, offset: '3' }]) expect(parseEvent(junk)).toBeNull();
});

test('answers of other shapes read as empty, not as errors', () => {
  expect(parseHistory(null)).toEqual({ events: [], more: false });
  expect(parseHistory({ events: [{ ...wire, offset: 9 }, wire], more: true }).events.map((event) => event.offset)).toEqual([3, 9]);
  expect(parseRooms({ rooms: [{ id: 'a' }, { name: 'no id' }, null] })).toEqual([
    { id: 'a', name: 'a', member: false, members: 0, messages: 0 },
  ]);
});

test.each([1, 2, 3, 11, 100, 111, 113, 503])('code %i is temporary', (code) => {
  expect(refusalOf({ code, message: 'm' }).temporary).toBe(true);
});

test.each([101, 103, 104, 400, 403, 404, 409, 413])('code %i is for good', (code) => {
  expect(refusalOf({ code, message: '' }).temporary).toBe(false);
});

test("the server's message is shown, with words of our own only where it has none", () => {
  expect(refusalOf({ code: 400, message: 'text is empty' }).message).toBe('Text is empty');
  expect(refusalOf({ code: 403, message: '' }).message).toBe('You are not a member of this room');
  const same = new Refusal(1, 'x', true);
  expect(refusalOf(same)).toBe(same);
});

test('backoff doubles to its bound', () => {
  expect([1, 2, 3, 40].map((attempt) => backoff(attempt, 100, 1000, 1))).toEqual([100, 200, 400, 1000]);
});

test('addresses may be absolute or relative to the page', () => {
  const config = { auth_url: 'http://localhost:8001/auth/', websocket_url: 'ws://localhost:8000/connection/websocket', version: '1' };
  expect(resolveAddresses(config, 'http://localhost:8000/')).toEqual({
    auth: 'http://localhost:8001/auth',
    websocket: 'ws://localhost:8000/connection/websocket',
    version: '1',
  });
  expect(resolveAddresses({}, 'https://chat.example/')).toEqual({
    auth: 'https://chat.example/auth',
    websocket: 'wss://chat.example/connection/websocket',
    version: '',
  });
});

const signs: Signs = { state: 'connecting', code: 0, reason: '', before: false, network: true };

test('the connection is told in four words', () => {
  expect(statusOf(signs).state).toBe('connecting');
  expect(statusOf({ ...signs, before: true }).state).toBe('reconnecting');
  expect(statusOf({ ...signs, network: false })).toMatchObject({ state: 'offline', final: false });
  expect(statusOf({ ...signs, state: 'connected' }).state).toBe('online');
  expect(statusOf({ ...signs, state: 'disconnected', code: 4501 })).toMatchObject({ state: 'offline', final: true });
  expect(statusOf({ ...signs, state: 'disconnected', code: 4777, reason: 'go away' }).reason).toContain('go away');
});

test('typed text is cleaned, not changed', () => {
  expect(cleanText(' a\r\nb\u0000\u001b\tc \n')).toBe('a\nb\tc');
  expect(cleanText('\n \t')).toBe('');
  expect(cleanText('half \ud83d\ud83d\ude00 \ude00')).toBe('half \ufffd\u{1f600} \ufffd');
  expect(byteLength('ä€🙂')).toBe(9);
});

test('message ids fit the grammar and differ', () => {
  const ids = Array.from({ length: 100 }, newMessageId);
  expect(ids.every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(100);
});

test('initials are letters as one sees them', () => {
  expect(['Ann', 'ann lee', 'Zoë van Ångström', '🙂 x', '  ', ''].map(initialsOf)).toEqual(['A', 'AL', 'ZÅ', '🙂X', '?', '?']);
  expect(hueOf('u1')).toBe(hueOf('u1'));
});
