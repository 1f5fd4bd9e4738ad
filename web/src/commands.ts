import {
  parseAcknowledgement,
  parseHistory,
  parseRoomAnswer,
  parseRooms,
  type Acknowledgement,
  type HistoryPage,
  type RoomSummary,
} from './protocol';
import { Refusal } from './refusal';
import { HISTORY_PAGE } from './settings';

/** Carries one command and gives its answer; throws Refusal. */
export interface Carrier {
  rpc(method: string, request: object): Promise<unknown>;
}

/** What one can ask of the chat service. Every method throws Refusal. */
export class Commands {
  readonly #carrier: Carrier;

  constructor(carrier: Carrier) {
    this.#carrier = carrier;
  }

  async rooms(): Promise<RoomSummary[]> {
    return parseRooms(await this.#carrier.rpc('room.list', {}));
  }

  async create(name: string): Promise<RoomSummary> {
    return whole(parseRoomAnswer(await this.#carrier.rpc('room.create', { name })));
  }

  async join(room: string): Promise<RoomSummary> {
    return whole(parseRoomAnswer(await this.#carrier.rpc('room.join', { room })));
  }

  async leave(room: string): Promise<void> {
    await this.#carrier.rpc('room.leave', { room });
  }

  /** Safe to repeat with the same `id`: the answer is then the first one's. */
  async send(room: string, id: string, text: string): Promise<Acknowledgement> {
    return parseAcknowledgement(await this.#carrier.rpc('message.send', { room, id, text }));
  }

  /** The newest page of a room's log, or the page before or after an offset (exclusive). */
  async history(room: string, range: { before?: number; after?: number } = {}): Promise<HistoryPage> {
    return parseHistory(await this.#carrier.rpc('room.history', { room, limit: HISTORY_PAGE, ...range }));
  }
}

function whole(room: RoomSummary | null): RoomSummary {
  if (room === null) throw new Refusal(0, 'The server gave an answer this page does not understand', true);
  return room;
}
