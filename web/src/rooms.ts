import type { Commands } from './commands';
import type { Connection } from './connection';
import type { Courier } from './courier';
import type { RoomEvent, RoomSummary, User } from './protocol';
import { refusalOf, type Refusal } from './refusal';
import { Room } from './room';
import { LOST_ROOM_MS, OPEN_ROOMS } from './settings';
import { Signal } from './signal';
import type { Storage } from './storage';

/** The room everybody finds at first. */
const FIRST_ROOM = 'general';

/** All rooms one can see, the ones that are open here, and the one in front. */
export class Rooms {
  list: RoomSummary[] = [];
  /** Whether the list was ever had. */
  known = false;
  current: string | null = null;
  /** Rooms with something new that is not in front. */
  readonly active = new Set<string>();
  /** Emitted when the list, the selection or activity changed. */
  readonly changed = new Signal();
  /** Emitted when anything of the room in front changed. */
  readonly redrawn = new Signal();

  readonly #connection: Connection;
  readonly #commands: Commands;
  readonly #courier: Courier;
  readonly #storage: Storage;
  readonly #me: User;
  /** Insertion order is order of use, oldest first. */
  readonly #open = new Map<string, Room>();
  /** Raised by every change made here, so that a list asked for before it is not believed. */
  #edition = 0;
  #welcomed = false;

  constructor(connection: Connection, commands: Commands, courier: Courier, storage: Storage, me: User) {
    this.#connection = connection;
    this.#commands = commands;
    this.#courier = courier;
    this.#storage = storage;
    this.#me = me;
    this.current = storage.get(this.#key);
    courier.changed.listen((room) => {
      if (room === this.current) this.redrawn.emit();
    });
  }

  get #key(): string {
    return `parley.room.${this.#me.id}`;
  }

  summary(id: string | null): RoomSummary | null {
    return this.list.find((room) => room.id === id) ?? null;
  }

  /** The open room in front, null when none is or its reader is no member. */
  get front(): Room | null {
    return this.current === null ? null : (this.#open.get(this.current) ?? null);
  }

  /** Ask for the list; temporary trouble leaves the old one standing. */
  async refresh(): Promise<void> {
    const edition = this.#edition;
    let list: RoomSummary[];
    try {
      list = await this.#commands.rooms();
    } catch (error) {
      console.warn('the room list could not be read', refusalOf(error).message);
      return;
    }
    if (edition !== this.#edition) return;
    this.list = list;
    this.known = true;
    if (this.summary(this.current) === null) this.current = this.#firstRoom();
    for (const id of this.#open.keys()) if (this.summary(id)?.member !== true) this.#shut(id);
    this.#bringUp();
    this.changed.emit();
    this.redrawn.emit();
    await this.#welcome();
  }

  /** Put a room in front. */
  select(id: string): void {
    this.current = id;
    this.#storage.set(this.#key, id);
    this.active.delete(id);
    this.#bringUp();
    this.changed.emit();
    this.redrawn.emit();
  }

  /** Make a room and go there; throws Refusal. */
  async create(name: string): Promise<void> {
    this.#take(await this.#commands.create(name));
  }

  /** Become a member and go there; throws Refusal. */
  async join(id: string): Promise<void> {
    const room = await this.#commands.join(id);
    this.#take({ ...room, member: true });
  }

  /** Stop being a member; throws Refusal. */
  async leave(id: string): Promise<void> {
    await this.#commands.leave(id);
    this.#shut(id);
    this.#amend(id, (room) => ({ ...room, member: false, members: Math.max(0, room.members - 1) }));
  }

  /** Shut every room. */
  close(): void {
    for (const id of [...this.#open.keys()]) this.#shut(id);
  }

  /** Forget what is stored of the person. */
  clear(): void {
    this.close();
    this.#storage.remove(this.#key);
  }

  #firstRoom(): string | null {
    const mine = this.list.find((room) => room.member);
    return (mine ?? this.list.find((room) => room.id === FIRST_ROOM) ?? this.list[0])?.id ?? null;
  }

  /** Bring somebody who is new here, and in no room, into the first one: people come to talk. */
  async #welcome(): Promise<void> {
    const isNew = this.#storage.get(this.#key) === null && !this.list.some((room) => room.member);
    if (!isNew || this.summary(FIRST_ROOM) === null || this.#welcomed) return;
    this.#welcomed = true;
    try {
      await this.join(FIRST_ROOM);
    } catch (error) {
      console.warn('the first room could not be joined', refusalOf(error).message); // its button is still there
    }
  }

  #take(room: RoomSummary): void {
    this.#edition += 1;
    this.list = [...this.list.filter((other) => other.id !== room.id), room];
    this.select(room.id);
    void this.refresh();
  }

  #amend(id: string, change: (room: RoomSummary) => RoomSummary): void {
    this.#edition += 1;
    this.list = this.list.map((room) => (room.id === id ? change(room) : room));
    this.changed.emit();
    if (id === this.current) this.redrawn.emit();
  }

  /** Open the room in front if its reader is a member, as the most recently used one. */
  #bringUp(): void {
    const id = this.current;
    if (id === null || this.summary(id)?.member !== true) return;
    const room = this.#open.get(id) ?? this.#start(id);
    this.#open.delete(id);
    this.#open.set(id, room);
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= OPEN_ROOMS) break;
      this.#shut(oldest);
    }
  }

  #start(id: string): Room {
    const room = new Room(id, this.#connection, this.#commands);
    room.changed.listen(() => {
      if (id === this.current) this.redrawn.emit();
    });
    room.heard.listen(({ events, live }) => this.#hear(room, events, live));
    room.ended.listen((refusal) => this.#lose(id, refusal));
    return room;
  }

  #hear(room: Room, events: readonly RoomEvent[], live: boolean): void {
    this.#courier.heard(room.id, events, room.timeline.last);
    if (!live) return;
    for (const event of events) {
      if (event.type === 'joined') this.#count(room.id, 1);
      if (event.type === 'left') this.#count(room.id, -1);
      const news = event.type === 'message' && event.user.id !== this.#me.id;
      if (news && (room.id !== this.current || document.hidden)) {
        this.active.add(room.id);
        this.changed.emit();
      }
    }
  }

  /** Keep the member count near the truth until the next list. */
  #count(id: string, step: number): void {
    this.list = this.list.map((room) => (room.id === id ? { ...room, members: Math.max(0, room.members + step) } : room));
  }

  #lose(id: string, refusal: Refusal): void {
    console.info(`room ${id} was closed by the server: ${refusal.message}`);
    this.#shut(id);
    this.#amend(id, (room) => ({ ...room, member: false }));
    // Not at once: while list and gateway disagree on membership, this would open and lose the room in a tight circle.
    setTimeout(() => void this.refresh(), LOST_ROOM_MS);
  }

  #shut(id: string): void {
    this.#open.get(id)?.close();
    this.#open.delete(id);
    this.active.delete(id);
  }
}
