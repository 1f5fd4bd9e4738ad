/** What travels on a room's channel and in RPC answers, checked: the wire is not trusted to be well-formed. */

export interface User {
  readonly id: string;
  readonly name: string;
}

export interface RoomSummary {
  readonly id: string;
  readonly name: string;
  readonly member: boolean;
  readonly members: number;
  readonly messages: number;
}

interface Logged {
  readonly offset: number;
  /** ms since the epoch, by the service's clock. */
  readonly time: number;
  readonly user: User;
}

export interface MessageEvent extends Logged {
  readonly type: 'message';
  readonly number: number;
  readonly id: string;
  readonly text: string;
}

export interface NoticeEvent extends Logged {
  readonly type: 'joined' | 'left' | 'created';
}

/** An event of a later version: not drawn, but its offset counts, or it would look like a gap. */
export interface OtherEvent {
  readonly type: 'other';
  readonly offset: number;
}

export type RoomEvent = MessageEvent | NoticeEvent | OtherEvent;

export interface HistoryPage {
  /** Ascending by offset. */
  readonly events: readonly RoomEvent[];
  readonly more: boolean;
}

export interface Acknowledgement {
  readonly offset: number;
  readonly number: number;
  readonly time: number;
}

type Shape = Readonly<Record<string, unknown>>;

function shapeOf(value: unknown): Shape {
  return typeof value === 'object' && value !== null ? (value as Shape) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

function userOf(value: unknown): User {
  const shape = shapeOf(value);
  const id = textOf(shape['id']);
  return { id, name: textOf(shape['name']) || id };
}

/** Read one event; null when it has no offset and so cannot be placed (an ephemeral publication). */
export function parseEvent(value: unknown): RoomEvent | null {
  const shape = shapeOf(value);
  const offset = countOf(shape['offset']);
  if (offset === 0) return null;
  const time = typeof shape['time'] === 'number' ? shape['time'] : 0;
  const user = userOf(shape['user']);
  const type = shape['type'];
  if (type === 'message' && user.id !== '' && typeof shape['text'] === 'string') {
    const number = countOf(shape['number']);
    return { type, offset, time, user, number, id: textOf(shape['id']), text: shape['text'] };
  }
  if ((type === 'joined' || type === 'left' || type === 'created') && user.id !== '') {
    return { type, offset, time, user };
  }
  return { type: 'other', offset };
}

/** Read the answer of room.history. */
export function parseHistory(value: unknown): HistoryPage {
  const shape = shapeOf(value);
  const list = Array.isArray(shape['events']) ? shape['events'] : [];
  const events = list.map(parseEvent).filter((event): event is RoomEvent => event !== null);
  return { events: events.sort((a, b) => a.offset - b.offset), more: shape['more'] === true };
}

/** Read one room of room.list, room.create or room.join; null when it has no id. */
export function parseRoom(value: unknown): RoomSummary | null {
  const shape = shapeOf(value);
  const id = textOf(shape['id']);
  if (id === '') return null;
  return {
    id,
    name: textOf(shape['name']) || id,
    member: shape['member'] === true,
    members: countOf(shape['members']),
    messages: countOf(shape['messages']),
  };
}

/** Read the answer of room.list. */
export function parseRooms(value: unknown): RoomSummary[] {
  const list = shapeOf(value)['rooms'];
  const rooms = Array.isArray(list) ? list.map(parseRoom) : [];
  return rooms.filter((room): room is RoomSummary => room !== null);
}

/** Read the `room` member of an answer. */
export function parseRoomAnswer(value: unknown): RoomSummary | null {
  return parseRoom(shapeOf(value)['room']);
}

/** Read the answer of message.send. */
export function parseAcknowledgement(value: unknown): Acknowledgement {
  const shape = shapeOf(value);
  return { offset: countOf(shape['offset']), number: countOf(shape['number']), time: countOf(shape['time']) };
}

/** The display name a connection carries (conn_info of presence, join and leave). */
export function parseConnectionName(value: unknown): string {
  return textOf(shapeOf(value)['name']);
}
