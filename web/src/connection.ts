import { Centrifuge, State, UnauthorizedError, type Subscription } from 'centrifuge';
import { refusalOf } from './refusal';
import { SessionEnded, type Session } from './session';
import { RECONNECT_FIRST_MS, RECONNECT_LAST_MS } from './settings';
import { Signal } from './signal';
import { statusOf, type Signs, type Status } from './status';

/** The one home of the SDK's client: connects, keeps connected, carries commands, lends out subscriptions. */
export class Connection {
  readonly #client: Centrifuge;
  #before = false;
  #code = 0;
  #reason = '';
  readonly #stop: () => void;
  /** Emitted whenever the status may have changed. */
  readonly changed = new Signal<Status>();

  constructor(url: string, session: Session, version: string) {
    this.#client = new Centrifuge(url, {
      getToken: () => tokenFor(session),
      name: 'parley-web',
      version,
      minReconnectDelay: RECONNECT_FIRST_MS,
      maxReconnectDelay: RECONNECT_LAST_MS,
    });
    this.#client.on('connecting', (ctx) => this.#note(ctx.code, ctx.reason));
    this.#client.on('disconnected', (ctx) => this.#note(ctx.code, ctx.reason));
    this.#client.on('connected', () => {
      this.#before = true;
      this.#note(0, '');
    });
    const network = (): void => this.changed.emit(this.status);
    window.addEventListener('online', network);
    window.addEventListener('offline', network);
    this.#stop = () => {
      window.removeEventListener('online', network);
      window.removeEventListener('offline', network);
    };
  }

  get status(): Status {
    return statusOf(this.#signs());
  }

  get online(): boolean {
    return this.#client.state === State.Connected;
  }

  /** Connect, with a new token: after a terminal close the old one may be the very reason. */
  connect(): void {
    this.#client.setToken('');
    this.#client.connect();
  }

  /** Close for good: no reconnect, no events afterwards. */
  close(): void {
    this.#stop();
    this.#client.removeAllListeners();
    this.#client.disconnect();
  }

  /** Carry a command; throws Refusal. */
  async rpc(method: string, request: object): Promise<unknown> {
    try {
      const answer = await this.#client.rpc(method, request);
      return answer.data as unknown;
    } catch (error) {
      throw refusalOf(error);
    }
  }

  /** A new subscription to a channel, not yet subscribed. Give it back with `release`. */
  subscription(channel: string): Subscription {
    const left = this.#client.getSubscription(channel);
    if (left !== null) this.#client.removeSubscription(left);
    return this.#client.newSubscription(channel, { joinLeave: true, recoverable: true, positioned: true });
  }

  release(subscription: Subscription): void {
    subscription.removeAllListeners();
    this.#client.removeSubscription(subscription);
  }

  #note(code: number, reason: string): void {
    this.#code = code;
    this.#reason = reason;
    this.changed.emit(this.status);
  }

  #signs(): Signs {
    const state = this.#client.state;
    return { state, code: this.#code, reason: this.#reason, before: this.#before, network: navigator.onLine };
  }
}

/** Only a session that is over ends the connection; any other failure makes the SDK ask again later. */
async function tokenFor(session: Session): Promise<string> {
  try {
    return await session.token();
  } catch (error) {
    if (error instanceof SessionEnded) throw new UnauthorizedError('session ended');
    throw error;
  }
}
