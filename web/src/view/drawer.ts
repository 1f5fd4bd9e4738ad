/**
 * A side panel that is part of the page when there is room and slides over it when there is not. While it is
 * hidden it is inert, so that Tab does not wander into it.
 */
export class Drawer {
  readonly #panel: HTMLElement;
  readonly #toggle: HTMLElement;
  readonly #narrow: MediaQueryList;
  readonly #onChange = (): void => this.#apply();
  #open = false;

  /** `narrow` is the media query under which the panel is a drawer. */
  constructor(panel: HTMLElement, toggle: HTMLElement, narrow: string) {
    this.#panel = panel;
    this.#toggle = toggle;
    this.#narrow = window.matchMedia(narrow);
    this.#narrow.addEventListener('change', this.#onChange);
    toggle.setAttribute('aria-controls', panel.id);
    this.#apply();
  }

  get open(): boolean {
    return this.#open && this.#narrow.matches;
  }

  /** Open it and move the focus in. */
  show(): void {
    this.#open = true;
    this.#apply();
    this.#panel.querySelector<HTMLElement>('button, input, [tabindex]')?.focus();
  }

  /** Close it; the focus goes back to the button that opened it if it was inside. */
  hide(): void {
    if (!this.open) return;
    const inside = this.#panel.contains(document.activeElement);
    this.#open = false;
    this.#apply();
    if (inside) this.#toggle.focus();
  }

  close(): void {
    this.#narrow.removeEventListener('change', this.#onChange);
  }

  #apply(): void {
    const hidden = this.#narrow.matches && !this.#open;
    this.#panel.inert = hidden;
    this.#panel.classList.toggle('is-open', this.open);
    this.#toggle.setAttribute('aria-expanded', String(!hidden));
    document.body.classList.toggle('has-drawer', document.querySelector('.drawer.is-open') !== null);
  }
}
