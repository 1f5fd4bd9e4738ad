import { HTTP_TIMEOUT_MS } from './settings';
import type { User } from './protocol';

/** What the auth service grants: a short access token, and the refresh token that buys the next one. */
export interface Grant {
  readonly accessToken: string;
  /** Seconds the access token is valid from now. */
  readonly expiresIn: number;
  readonly refreshToken: string;
  readonly user: User;
}

/** The auth service said no, or could not be asked (status 0). `code` is its stable problem code. */
export class AuthProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'AuthProblem';
  }
}

const WORDS: Readonly<Record<string, string>> = {
  username_taken: 'That username is taken. Choose another, or log in if it is yours.',
  invalid_credentials: 'Wrong username or password.',
  account_banned: 'This account is banned.',
  refresh_reused: 'This session was used from somewhere else and has been ended.',
  unavailable: 'The sign-in service is busy. Try again in a moment.',
};

/** The HTTP API of the auth service. Every method throws AuthProblem. */
export class AuthApi {
  readonly #base: string;
  readonly #fetch: typeof fetch;

  /** `base` is the absolute URL of the API, e.g. https://chat.example/auth. */
  constructor(base: string, fetcher: typeof fetch = (input, init) => fetch(input, init)) {
    this.#base = base;
    this.#fetch = fetcher;
  }

  guest(name: string): Promise<Grant> {
    return this.#grant('guest', { name });
  }

  login(username: string, password: string): Promise<Grant> {
    return this.#grant('login', { username, password });
  }

  register(username: string, password: string): Promise<Grant> {
    return this.#grant('register', { username, password });
  }

  refresh(refreshToken: string): Promise<Grant> {
    return this.#grant('refresh', { refresh_token: refreshToken });
  }

  /** End the session on the server. */
  async logout(refreshToken: string): Promise<void> {
    await this.#post('logout', { refresh_token: refreshToken });
  }

  async #grant(path: string, body: Record<string, string>): Promise<Grant> {
    const response = await this.#post(path, body);
    const answer = (await response.json().catch(() => null)) as Record<string, unknown> | null;
    const user = answer?.['user'] as Record<string, unknown> | undefined;
    const accessToken = answer?.['access_token'];
    const refreshToken = answer?.['refresh_token'];
    if (typeof accessToken !== 'string' || typeof refreshToken !== 'string' || typeof user?.['id'] !== 'string') {
      // A proxy's page with status 200, say. Not a 401: the session must survive it.
      throw new AuthProblem(0, 'malformed', 'The sign-in service gave an answer this page does not understand.');
    }
    const name = typeof user['name'] === 'string' ? user['name'] : user['id'];
    const expiresIn = typeof answer?.['expires_in'] === 'number' ? answer['expires_in'] : 60;
    return { accessToken, refreshToken, expiresIn, user: { id: user['id'], name } };
  }

  async #post(path: string, body: Record<string, string>): Promise<Response> {
    let response: Response;
    try {
      response = await this.#fetch(`${this.#base}/${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
        body: JSON.stringify(body),
        credentials: 'omit',
        keepalive: path === 'logout',
        signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
      });
    } catch {
      // Network failure, refused by CORS, or past the deadline: the browser does not say which.
      throw new AuthProblem(0, 'unreachable', 'The sign-in service cannot be reached. Check your connection.');
    }
    if (response.ok) return response;
    throw await problemOf(response);
  }
}

async function problemOf(response: Response): Promise<AuthProblem> {
  const problem = (await response.json().catch(() => null)) as Record<string, unknown> | null;
  const code = typeof problem?.['code'] === 'string' ? problem['code'] : '';
  const detail = typeof problem?.['detail'] === 'string' ? problem['detail'] : '';
  if (response.status === 429) return new AuthProblem(429, code, tooMany(response.headers.get('Retry-After')));
  const busy = response.status >= 500 ? WORDS['unavailable'] : undefined;
  const message = WORDS[code] ?? busy ?? (detail || `The sign-in service answered ${response.status}.`);
  return new AuthProblem(response.status, code, message);
}

function tooMany(retryAfter: string | null): string {
  const seconds = Number(retryAfter);
  if (retryAfter === null || !Number.isFinite(seconds) || seconds <= 0) return 'Too many attempts. Wait a moment.';
  return `Too many attempts. Try again in ${Math.ceil(seconds)} s.`;
}
