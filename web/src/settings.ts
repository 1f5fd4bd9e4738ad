/** Every number of the page, and the addresses it fetches at its start. */

/** Longest message in bytes of UTF-8; the chat service refuses more with 413. */
export const MESSAGE_BYTES = 4096;
/** From here on the composer shows how many bytes are left. */
export const MESSAGE_BYTES_HINT = 3600;
/** Unacknowledged messages kept; above this the composer refuses, so that a dead network has a visible end. */
export const OUTBOX_ENTRIES = 100;

/** Unsent messages of somebody else on this device are dropped after this long, in ms. */
export const OUTBOX_AGE_MS = 7 * 24 * 3600_000;

/** Subscriptions kept alive at once; the least recently opened room gives way. The gateway allows 128. */
export const OPEN_ROOMS = 20;
/** Events asked per history request (the service allows 100). */
export const HISTORY_PAGE = 50;
/** Events kept of one room while its reader is at the newest; older ones are paged in again when scrolled to. */
export const TIMELINE_EVENTS = 600;
/** Requests spent on one missing range before the reader is told. */
export const REPAIR_ATTEMPTS = 8;

/** Delay of the first retry and the longest one, in ms; jittered between half and whole. */
export const RETRY_FIRST_MS = 800;
export const RETRY_LAST_MS = 20_000;
/** Reconnect bounds handed to the SDK, in ms. */
export const RECONNECT_FIRST_MS = 400;
export const RECONNECT_LAST_MS = 10_000;
/** Deadline of an HTTP request to the auth service, in ms. */
export const HTTP_TIMEOUT_MS = 10_000;

/** How often the room list is asked again while the page is visible, in ms: nothing pushes new rooms. */
export const ROOM_LIST_MS = 30_000;
/** After the server closed a room the list is asked again this much later, in ms. */
export const LOST_ROOM_MS = 2_000;
/** How often presence is asked again, in ms: joins and leaves are best effort. */
export const PRESENCE_MS = 60_000;

/** Messages of one author closer than this, in ms, stand in one group. */
export const GROUP_MS = 5 * 60_000;
/** Rooms drawn at once; beyond, the filter narrows the list. */
export const ROOMS_DRAWN = 150;
/** From this many rooms on the list shows a filter. */
export const ROOMS_FILTER = 8;

/** Where the services are, as absolute URLs. */
export interface Addresses {
  /** Base of the auth API, without a slash at the end. */
  readonly auth: string;
  readonly websocket: string;
  readonly version: string;
}

/** Resolve the contents of config.json against the page's address; relative values mean "this origin". */
export function resolveAddresses(config: unknown, page: string): Addresses {
  const given = (typeof config === 'object' && config !== null ? config : {}) as Record<string, unknown>;
  const text = (key: string, fallback: string): string => {
    const value = given[key];
    return typeof value === 'string' && value !== '' ? value : fallback;
  };
  const auth = new URL(text('auth_url', '/auth'), page);
  const websocket = new URL(text('websocket_url', '/connection/websocket'), page);
  if (websocket.protocol === 'http:') websocket.protocol = 'ws:';
  if (websocket.protocol === 'https:') websocket.protocol = 'wss:';
  return { auth: auth.href.replace(/\/+$/, ''), websocket: websocket.href, version: text('version', '') };
}

/** Fetch config.json beside the page. Throws when it cannot be had; the page then offers to try again. */
export async function fetchAddresses(): Promise<Addresses> {
  const response = await fetch(new URL('config.json', document.baseURI), {
    cache: 'no-store',
    signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`config.json answered ${response.status}`);
  return resolveAddresses(await response.json(), location.href);
}
