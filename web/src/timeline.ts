import type { RoomEvent } from './protocol';

/** A range of offsets that should be held and is not: everything after `after`, up to and with `until`. */
export interface Gap {
  readonly after: number;
  readonly until: number;
}

/**
 * The events of one room in offset order, each offset once, whatever order and however often they arrive
 * (live, recovered, paged). Offsets run without gaps in the log, so a missing number here is a missing event.
 */
export class Timeline {
  #events: RoomEvent[] = [];
  #more = true;

  get events(): readonly RoomEvent[] {
    return this.#events;
  }

  /** Lowest offset held, 0 when empty. */
  get first(): number {
    return this.#events[0]?.offset ?? 0;
  }

  /** Highest offset held, 0 when empty. */
  get last(): number {
    return this.#events.at(-1)?.offset ?? 0;
  }

  /** Whether the log has events before the first one held. */
  get more(): boolean {
    return this.#more && this.first !== 1;
  }

  /** Merge events; those already held are ignored. Returns how many were new. */
  add(events: readonly RoomEvent[]): number {
    let added = 0;
    for (const event of events) if (this.#insert(event)) added += 1;
    return added;
  }

  /** Merge a page of older events; `more` says whether the log goes on before it. */
  prepend(events: readonly RoomEvent[], more: boolean): number {
    this.#more = more;
    return this.add(events);
  }

  /**
   * Take the newest page of the log. If it touches what is held it is merged; otherwise what is held is dropped,
   * because a hole of unknown size before the newest page is better paged in again than shown as if nothing were missing.
   * Events held beyond the page (heard live while it was on its way) stay.
   */
  settle(page: readonly RoomEvent[], more: boolean): void {
    const start = page[0]?.offset ?? 0;
    const end = page.at(-1)?.offset ?? 0;
    const before = this.#events.filter((event) => event.offset <= end);
    const touches = before.length > 0 && (before.at(-1)?.offset ?? 0) + 1 >= start;
    if (!touches || start <= this.first) this.#more = more;
    if (!touches) this.#events = this.#events.filter((event) => event.offset > end);
    this.add(page);
  }

  /** The first missing range at or below `position` (the newest offset known to exist), or null. */
  gap(position: number): Gap | null {
    if (this.#events.length === 0) return position > 0 ? { after: 0, until: position } : null;
    if (this.last - this.first + 1 !== this.#events.length) {
      for (let index = 1; index < this.#events.length; index += 1) {
        const previous = this.#events[index - 1]?.offset ?? 0;
        const next = this.#events[index]?.offset ?? 0;
        if (next !== previous + 1) return { after: previous, until: next - 1 };
      }
    }
    return this.last < position ? { after: this.last, until: position } : null;
  }

  /** Forget the oldest events above `keep`; they can be paged in again. Returns whether any went. */
  trim(keep: number): boolean {
    if (this.#events.length <= keep) return false;
    this.#events = this.#events.slice(-keep);
    this.#more = true;
    return true;
  }

  /** Forget everything. */
  clear(): void {
    this.#events = [];
    this.#more = true;
  }

  #insert(event: RoomEvent): boolean {
    if (event.offset > this.last) {
      this.#events.push(event);
      return true;
    }
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle]?.offset ?? 0) < event.offset) low = middle + 1;
      else high = middle;
    }
    if (this.#events[low]?.offset === event.offset) return false;
    this.#events.splice(low, 0, event);
    return true;
  }
}
