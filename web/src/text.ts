/** What a person typed, made fit to send. */

// C0 without tab and newline, DEL and C1: nobody types them on purpose and the service refuses them.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

// Half a character, as cutting an emoji in two leaves it. It has no UTF-8: the gateway ends a connection that sends one,
// and a stored message would end each one after.
const HALF = /\p{Surrogate}/gu;

/** Normalise line ends, drop control characters, replace halves of characters, trim. Empty: there is nothing to send. */
export function cleanText(typed: string): string {
  return typed.replace(/\r\n?/g, '\n').replace(CONTROL, '').replace(HALF, '\ufffd').trim();
}

const encoder = new TextEncoder();

/** Size of a text on the wire, in bytes of UTF-8: the unit of the service's limit. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** A new message id: 32 hex digits. Not `crypto.randomUUID`, which plain http on a LAN address lacks. */
export function newMessageId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
