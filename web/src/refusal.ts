/** Why a command was not carried out, and whether the same command may succeed later. */
export class Refusal extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly temporary: boolean,
  ) {
    super(message);
    this.name = 'Refusal';
  }
}

/** Protocol and chat codes that mean "later": internal, too many requests, concurrent pagination, unavailable. */
const TEMPORARY = new Set([100, 109, 111, 113, 503]);

const WORDS: Readonly<Record<number, string>> = {
  101: 'You are not signed in',
  103: 'You may not do this',
  104: 'This server does not know that command',
  108: 'This server does not offer that',
  403: 'You are not a member of this room',
  404: 'There is no such room',
  409: 'This was already sent with other words',
  413: 'This message is too long',
};

/**
 * Turn whatever an RPC rejected with into a Refusal. Codes below 100 are the SDK's own (timeout, transport
 * closed, disconnected): the command may even have been carried out, so it is temporary and repeated with its id.
 */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const shape = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const code = typeof shape['code'] === 'number' ? shape['code'] : 0;
  const said = typeof shape['message'] === 'string' ? shape['message'].trim() : '';
  const temporary = code < 100 || shape['temporary'] === true || TEMPORARY.has(code);
  if (code > 0 && code < 100) return new Refusal(code, 'The server did not answer', true);
  return new Refusal(code, sentence(said) || WORDS[code] || `Refused (${code})`, temporary);
}

function sentence(text: string): string {
  return text === '' ? '' : text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * Delay before attempt number `attempt` (1, 2, ...) is repeated, in ms: doubling up to `last`, jittered between
 * half and whole so that many clients do not return at one instant. `random` is in [0, 1).
 */
export function backoff(attempt: number, first: number, last: number, random: number): number {
  const whole = Math.min(last, first * 2 ** Math.min(attempt - 1, 16));
  return Math.round(whole / 2 + (whole / 2) * random);
}
