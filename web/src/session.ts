import { AuthProblem, type AuthApi, type Grant } from './auth';
import type { User } from './protocol';
import { Signal } from './signal';
import type { Storage } from './storage';

const KEY = 'parley.session';

interface Stored {
  readonly refreshToken: string;
  readonly user: User;
}

/** The session is over: the refresh token is worth nothing any more. */
export class SessionEnded extends Error {}

/**
 * Who is signed in on this device. The refresh token is shared by all tabs through storage; the access token
 * lives in this tab's memory only, so that a stolen storage is noticed by rotation and a stolen tab expires.
 */
export class Session {
  readonly #api: AuthApi;
  readonly #storage: Storage;
  readonly #locks: LockManager | undefined;
  #access = '';
  #refreshing: Promise<string> | null = null;
  /** Emitted once when the session ends, with words for the entry screen. */
  readonly ended = new Signal<string>();

  constructor(api: AuthApi, storage: Storage, locks: LockManager | undefined) {
    this.#api = api;
    this.#storage = storage;
    this.#locks = locks;
  }

  /** The stored user, or null when nobody is signed in. */
  get user(): User | null {
    return this.#stored()?.user ?? null;
  }

  /** Begin with what register, login or guest granted. */
  start(grant: Grant): void {
    this.#keep(grant);
  }

  /**
   * A token for the SDK's getToken. A granted token is handed out once: the SDK asks again only when the server
   * called it expired or its time is up, and then the same one, whatever this device's clock says, is no answer.
   * Throws SessionEnded on 401, AuthProblem when it may work later.
   */
  async token(): Promise<string> {
    const held = this.#access;
    this.#access = '';
    if (held !== '') return held;
    this.#refreshing ??= this.#locked(() => this.#refresh()).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** Sign out here and on the server. The server is told at best effort: here it is over in any case. */
  async signOut(): Promise<void> {
    const stored = this.#stored();
    this.end('');
    if (stored === null) return;
    try {
      await this.#api.logout(stored.refreshToken);
    } catch (error) {
      console.warn('the server was not told of the sign-out', error);
    }
  }

  /** Forget the session and say so. */
  end(words: string): void {
    this.#access = '';
    this.#storage.remove(KEY);
    this.ended.emit(words);
  }

  /** Another tab changed the storage: follow when it signed out or signed in as somebody else. */
  follow(key: string | null, known: User): void {
    if (key !== null && key !== KEY) return;
    const now = this.#stored();
    if (now?.user.id === known.id) return;
    this.#access = '';
    this.ended.emit(now === null ? 'You signed out in another tab.' : '');
  }

  /** One refresh at a time across tabs, where the browser has locks (secure contexts only). */
  async #locked(work: () => Promise<string>): Promise<string> {
    return this.#locks === undefined ? work() : await this.#locks.request(KEY, work);
  }

  async #refresh(): Promise<string> {
    // Read inside the lock: another tab may have rotated the token while this one waited.
    const stored = this.#stored();
    if (stored === null) throw new SessionEnded();
    try {
      const grant = await this.#api.refresh(stored.refreshToken);
      // Signed out, or in as somebody else, while the request was under way: do not bring the old session back.
      if (this.#stored()?.user.id !== stored.user.id) throw new SessionEnded();
      this.#keep(grant);
      this.#access = '';
      return grant.accessToken;
    } catch (error) {
      const banned = error instanceof AuthProblem && error.code === 'account_banned';
      if (!(error instanceof AuthProblem) || (error.status !== 401 && !banned)) throw error;
      this.end(error.code === 'refresh_reused' || banned ? error.message : 'Your session has ended. Sign in again.');
      throw new SessionEnded();
    }
  }

  #keep(grant: Grant): void {
    this.#access = grant.accessToken;
    const stored: Stored = { refreshToken: grant.refreshToken, user: grant.user };
    this.#storage.set(KEY, JSON.stringify(stored));
  }

  #stored(): Stored | null {
    const text = this.#storage.get(KEY);
    if (text === null) return null;
    try {
      const value = JSON.parse(text) as Partial<Stored>;
      const whole = typeof value.refreshToken === 'string' && typeof value.user?.id === 'string';
      return whole ? (value as Stored) : null;
    } catch {
      return null; // damaged: as good as nobody
    }
  }
}
