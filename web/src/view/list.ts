interface Drawing<T> {
  /** Identity: an item with the same key keeps its element, and with it focus and place. */
  key(item: T): string;
  /** Everything the drawing depends on; unchanged means the element is left alone. */
  signature(item: T): string;
  create(item: T): HTMLElement;
  update(element: HTMLElement, item: T): void;
}

/** Keeps the children of one container in step with a list, touching only what changed. */
export class KeyedList<T> {
  readonly #container: HTMLElement;
  readonly #drawing: Drawing<T>;
  readonly #drawn = new Map<string, { element: HTMLElement; signature: string }>();

  constructor(container: HTMLElement, drawing: Drawing<T>) {
    this.#container = container;
    this.#drawing = drawing;
  }

  show(items: readonly T[]): void {
    const keys = new Set(items.map((item) => this.#drawing.key(item)));
    for (const [key, { element }] of this.#drawn) {
      if (keys.has(key)) continue;
      element.remove();
      this.#drawn.delete(key);
    }
    let place = this.#container.firstElementChild;
    for (const item of items) {
      const element = this.#element(item);
      if (element === place) place = place.nextElementSibling;
      else this.#container.insertBefore(element, place);
    }
  }

  /** The element of a key, if it is drawn. */
  element(key: string): HTMLElement | null {
    return this.#drawn.get(key)?.element ?? null;
  }

  #element(item: T): HTMLElement {
    const key = this.#drawing.key(item);
    const signature = this.#drawing.signature(item);
    const drawn = this.#drawn.get(key);
    if (drawn?.signature === signature) return drawn.element;
    const element = drawn?.element ?? this.#drawing.create(item);
    this.#drawing.update(element, item);
    this.#drawn.set(key, { element, signature });
    return element;
  }
}
