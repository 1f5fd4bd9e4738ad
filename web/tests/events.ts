import type { MessageEvent, NoticeEvent, User } from '../src/protocol';

export const ann: User = { id: 'u1', name: 'Ann' };
export const bo: User = { id: 'u2', name: 'Bo' };

/** Noon of a fixed day, local time, so that days do not depend on the zone of the machine. */
export const NOON = new Date(2026, 2, 3, 12, 0, 0).getTime();

export function message(offset: number, changes: Partial<MessageEvent> = {}): MessageEvent {
  const text = `message ${offset}`;
  return { type: 'message', offset, number: offset, id: `m${offset}`, user: ann, text, time: NOON + offset, ...changes };
}

export function messages(from: number, to: number): MessageEvent[] {
  return Array.from({ length: to - from + 1 }, (_, index) => message(from + index));
}

export function notice(offset: number, type: NoticeEvent['type'], user = ann): NoticeEvent {
  return { type, offset, user, time: NOON + offset };
}
