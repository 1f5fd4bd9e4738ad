/** The part of `localStorage` the page needs; tests and private windows bring their own. */
export interface Storage {
  get(key: string): string | null;
  set(key: string, value: string): void;
  remove(key: string): void;
  keys(prefix: string): string[];
}

/** Storage that lasts as long as the page: for tests, and where the browser refuses to store. */
export function memoryStorage(): Storage {
  const held = new Map<string, string>();
  return {
    get: (key) => held.get(key) ?? null,
    set: (key, value) => void held.set(key, value),
    remove: (key) => void held.delete(key),
    keys: (prefix) => [...held.keys()].filter((key) => key.startsWith(prefix)),
  };
}

/**
 * `localStorage`, or memory where it is forbidden (touching it may throw). A full storage loses persistence,
 * not function: the value is then simply not there after a reload.
 */
export function browserStorage(): Storage {
  let local: globalThis.Storage;
  try {
    local = window.localStorage;
    local.getItem('parley.probe');
  } catch {
    return memoryStorage(); // blocked by the browser's settings
  }
  return {
    get: (key) => local.getItem(key),
    set: (key, value) => {
      try {
        local.setItem(key, value);
      } catch (error) {
        console.warn('could not store', key, error); // quota
      }
    },
    remove: (key) => local.removeItem(key),
    keys: (prefix) => Object.keys(local).filter((key) => key.startsWith(prefix)),
  };
}
