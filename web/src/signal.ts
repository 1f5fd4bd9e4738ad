/** One source of notifications with any number of listeners. */
export class Signal<T = void> {
  readonly #listeners = new Set<(value: T) => void>();

  /** Call `listener` on every emit; returns the way to stop. */
  listen(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Tell every listener. One that throws is logged and the others still hear: signals are emitted from
   * inside SDK events, and an exception there would end the connection for good (centrifuge 5.8).
   */
  emit(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        console.error('a listener failed', error);
      }
    }
  }
}
