import type { PublicationContext, SubscribedContext, Subscription, UnsubscribedContext } from 'centrifuge';
import type { Commands } from './commands';
import type { Connection } from './connection';
import { parseConnectionName, parseEvent, type RoomEvent } from './protocol';
import { backoff, Refusal, refusalOf } from './refusal';
import { Roster, type Presence } from './roster';
import { PRESENCE_MS, REPAIR_ATTEMPTS, RETRY_FIRST_MS, RETRY_LAST_MS, TIMELINE_EVENTS } from './settings';
import { Signal } from './signal';
import { Timeline } from './timeline';

interface RoomClient {
  readonly client: string;
  readonly user: string;
  readonly connInfo?: unknown;
}

/**
 * One open room: its subscription, the part of its log that is held, and who is here.
 *
 * First subscribe, then read the log: whatever is written in between arrives twice and counts once, and nothing
 * can fall between the two. After every (re)subscribe the newest known offset is compared with what is held, and
 * a missing range is read from the log.
 */
export class Room {
  readonly timeline = new Timeline();
  readonly roster = new Roster();
  /** Whether the newest page was read since the subscription was last made anew. */
  loaded = false;
  older: 'idle' | 'loading' | 'failed' = 'idle';
  /** Words for the reader when the room cannot be shown completely; empty when all is well. */
  trouble = '';
  readonly changed = new Signal();
  /** Events new to this device, live or read, in order. */
  readonly heard = new Signal<{ events: readonly RoomEvent[]; live: boolean }>();
  /** The gateway ended the subscription for good: no member any more, or no such room. */
  readonly ended = new Signal<Refusal>();

  readonly #connection: Connection;
  readonly #commands: Commands;
  readonly #subscription: Subscription;
  #position = 0;
  /** Counts subscribes; work begun under an older number stops. */
  #generation = 0;
  #repairing = false;
  #presenceTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly id: string,
    connection: Connection,
    commands: Commands,
  ) {
    this.#connection = connection;
    this.#commands = commands;
    this.#subscription = connection.subscription(`room:${id}`);
    this.#listen();
    this.#subscription.subscribe();
  }

  get subscribed(): boolean {
    return this.#subscription.state === 'subscribed';
  }

  /** Give the subscription back. */
  close(): void {
    this.#generation += 1;
    clearTimeout(this.#presenceTimer);
    this.#connection.release(this.#subscription);
  }

  /** Read the page before the first event held. */
  async loadOlder(): Promise<void> {
    if (this.older === 'loading' || !this.loaded || !this.timeline.more) return;
    this.#set(() => (this.older = 'loading'));
    try {
      const page = await this.#commands.history(this.id, { before: this.timeline.first });
      this.timeline.prepend(page.events, page.more && page.events.length > 0);
      this.#set(() => (this.older = 'idle'));
      this.heard.emit({ events: page.events, live: false });
    } catch (error) {
      console.warn('older messages could not be read', refusalOf(error).message);
      this.#set(() => (this.older = 'failed'));
    }
  }

  /** The reader is at the newest message: what lies far above can be forgotten. */
  rest(): void {
    if (this.older === 'idle' && this.timeline.trim(TIMELINE_EVENTS)) this.changed.emit();
  }

  #listen(): void {
    const sub = this.#subscription;
    sub.on('subscribed', (ctx) => this.#onSubscribed(ctx));
    sub.on('publication', (ctx) => this.#onPublication(ctx));
    sub.on('join', (ctx) => this.#set(() => this.roster.join(presenceOf(ctx.info))));
    sub.on('leave', (ctx) => this.#set(() => this.roster.leave(presenceOf(ctx.info))));
    sub.on('subscribing', () => {
      this.#generation += 1;
      clearTimeout(this.#presenceTimer);
      this.changed.emit();
    });
    sub.on('unsubscribed', (ctx) => this.#onUnsubscribed(ctx));
  }

  #onSubscribed(ctx: SubscribedContext): void {
    this.#generation += 1;
    const generation = this.#generation;
    this.#position = ctx.streamPosition?.offset ?? this.#position;
    // Without a proven recovery the log is the only witness of what was missed.
    if (!(ctx.wasRecovering && ctx.recovered)) this.loaded = false;
    // The log ends before what is held: it is another log (restored, or begun anew), and this one's events are not its.
    if (!this.loaded && this.#position < this.timeline.last) this.timeline.clear();
    void (this.loaded ? this.#repair(generation) : this.#load(generation));
    void this.#readPresence(generation);
    this.changed.emit();
  }

  #onPublication(ctx: PublicationContext): void {
    const event = parseEvent(ctx.data);
    if (event === null) return;
    this.#position = Math.max(this.#position, event.offset);
    if (this.timeline.add([event]) === 0) return;
    this.heard.emit({ events: [event], live: true });
    this.changed.emit();
    if (this.loaded && this.timeline.gap(0) !== null) void this.#repair(this.#generation);
  }

  #onUnsubscribed(ctx: UnsubscribedContext): void {
    this.#generation += 1;
    clearTimeout(this.#presenceTimer);
    this.#set(() => this.roster.clear());
    // Code 2 is our own client closing; everything else is the gateway's word about this room.
    if (ctx.code !== 0 && ctx.code !== 2) this.ended.emit(new Refusal(ctx.code, ctx.reason, false));
  }

  async #load(generation: number): Promise<void> {
    await this.#persist(generation, async () => {
      const page = await this.#commands.history(this.id);
      if (generation !== this.#generation) return true;
      // An archive may lag behind the log: nothing yet, although the subscription says there is something.
      if (page.events.length === 0 && this.#position > 0) return false;
      this.timeline.settle(page.events, page.more);
      this.#set(() => (this.loaded = true));
      this.heard.emit({ events: page.events, live: false });
      return true;
    });
    if (generation === this.#generation && this.loaded) await this.#repair(generation);
  }

  /** Read missing ranges until nothing is missing up to the newest known offset. */
  async #repair(generation: number): Promise<void> {
    if (this.#repairing) return;
    this.#repairing = true;
    try {
      await this.#persist(generation, async () => {
        for (let gap = this.timeline.gap(this.#position); gap !== null; gap = this.timeline.gap(this.#position)) {
          const page = await this.#commands.history(this.id, { after: gap.after });
          if (generation !== this.#generation) return true;
          if (this.timeline.add(page.events) === 0) return false;
          this.heard.emit({ events: page.events, live: false });
          this.changed.emit();
        }
        return true;
      });
    } finally {
      this.#repairing = false;
    }
    // Subscribed anew while this was under way, and that one's repair was turned away: it is this one's to do.
    const left = this.loaded && this.subscribed && generation !== this.#generation;
    if (left && this.timeline.gap(this.#position) !== null) await this.#repair(this.#generation);
  }

  /** Repeat `work` until it says done, it is refused for good, the attempts are spent, or it is out of date. */
  async #persist(generation: number, work: () => Promise<boolean>): Promise<void> {
    let trouble = 'Some messages are still missing.';
    for (let attempt = 1; attempt <= REPAIR_ATTEMPTS; attempt += 1) {
      try {
        if (await work()) return this.#set(() => (this.trouble = ''));
      } catch (error) {
        const refusal = refusalOf(error);
        trouble = `Messages could not be read: ${refusal.message}`;
        if (!refusal.temporary) break;
      }
      const delay = backoff(attempt, RETRY_FIRST_MS, RETRY_LAST_MS, Math.random());
      await new Promise((resume) => setTimeout(resume, delay));
      if (generation !== this.#generation) return;
    }
    if (generation === this.#generation) this.#set(() => (this.trouble = trouble));
  }

  /** Try again after `trouble`. */
  resume(): void {
    this.#set(() => (this.trouble = ''));
    if (this.subscribed) void (this.loaded ? this.#repair(this.#generation) : this.#load(this.#generation));
  }

  async #readPresence(generation: number): Promise<void> {
    this.roster.expect();
    try {
      const answer = await this.#subscription.presence();
      if (generation !== this.#generation) return;
      this.#set(() => this.roster.settle(Object.values(answer.clients).map(presenceOf)));
    } catch (error) {
      this.roster.abandon();
      // Presence is a courtesy: what joins and leaves brought stays, and the next round asks again.
      console.warn('presence could not be read', refusalOf(error).message);
    }
    if (generation !== this.#generation) return;
    this.#presenceTimer = setTimeout(() => void this.#readPresence(generation), PRESENCE_MS);
  }

  #set(change: () => unknown): void {
    change();
    this.changed.emit();
  }
}

function presenceOf(client: RoomClient): Presence {
  const name = parseConnectionName(client.connInfo);
  return { client: client.client, user: { id: client.user, name: name || client.user } };
}
