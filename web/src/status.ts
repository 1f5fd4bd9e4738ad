/** What the reader is told of the connection. */
export interface Status {
  readonly state: 'connecting' | 'online' | 'reconnecting' | 'offline';
  readonly reason: string;
  /** Nothing reconnects by itself any more; the reader has to act. */
  readonly final: boolean;
  readonly code: number;
}

/** What the SDK and the browser say. */
export interface Signs {
  readonly state: 'connecting' | 'connected' | 'disconnected';
  readonly code: number;
  readonly reason: string;
  /** Whether this client was ever connected. */
  readonly before: boolean;
  /** navigator.onLine; false is certain, true is only a hope. */
  readonly network: boolean;
}

export const SESSION_REVOKED = 4501;

const REASONS: Readonly<Record<number, string>> = {
  0: 'You are disconnected.',
  1: 'Your session has ended.',
  3001: 'The server is restarting.',
  3008: 'The connection was too slow.',
  3012: 'The connection stood still.',
  3500: 'Your sign-in was not accepted.',
  3503: 'The server closed this connection.',
  3504: 'Too many connections are open.',
  4001: 'The server asks for a new sign-in token.',
  4501: 'Your session was ended.',
  4502: 'You are connected in too many places.',
  4503: 'This account is banned.',
};

/**
 * Decide what to show. Which closing codes are terminal (3500-3999, 4500-4999) the SDK has decided already: it is
 * disconnected after those and connecting after all others.
 */
export function statusOf(signs: Signs): Status {
  if (signs.state === 'connected') return { state: 'online', reason: '', final: false, code: 0 };
  if (signs.state === 'disconnected') {
    const reason = REASONS[signs.code] ?? `The server closed this connection: ${signs.reason || signs.code}.`;
    return { state: 'offline', reason, final: true, code: signs.code };
  }
  if (!signs.network) {
    const reason = 'Your device has no network. Messages wait here and go out when it returns.';
    return { state: 'offline', reason, final: false, code: signs.code };
  }
  if (!signs.before) {
    return { state: 'connecting', reason: 'Connecting to the server.', final: false, code: signs.code };
  }
  const why = REASONS[signs.code] ?? 'The connection was lost.';
  return { state: 'reconnecting', reason: `${why} Messages wait here meanwhile.`, final: false, code: signs.code };
}
