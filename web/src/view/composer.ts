import { MESSAGE_BYTES, MESSAGE_BYTES_HINT } from '../settings';
import { byteLength, cleanText } from '../text';
import { h, icon, setText } from './dom';

/** Tallest the writing field grows, in px; then it scrolls. */
const TALLEST = 180;

/** Where messages are written. Keeps an unsent draft per room while the page lives. */
export class Composer {
  readonly element: HTMLElement;
  readonly #field = h('textarea', {
    class: 'composer-input',
    'data-testid': 'composer-input',
    rows: 1,
    enterkeyhint: 'send',
    'aria-describedby': 'composer-hint',
  });
  readonly #send = h(
    'button',
    { type: 'submit', class: 'composer-send', 'aria-label': 'Send', title: 'Send (Enter)', 'data-testid': 'composer-send' },
    icon('send'),
  );
  readonly #hint = h('p', { class: 'composer-hint', id: 'composer-hint', role: 'status', 'data-testid': 'composer-hint' });
  readonly #drafts = new Map<string, string>();
  readonly #post: (text: string) => string;
  #room = '';

  /** `post` accepts a message, or returns words why not. */
  constructor(post: (text: string) => string) {
    this.#post = post;
    const form = h('form', { class: 'composer-form' }, this.#field, this.#send);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener('input', () => this.#measure());
    this.#field.addEventListener('keydown', (event) => this.#onKey(event));
    this.element = h('footer', { class: 'composer' }, form, this.#hint);
  }

  /** Write for this room from now on. */
  show(room: string, name: string): void {
    this.#field.placeholder = `Message #${name}`;
    this.#field.setAttribute('aria-label', `Message to ${name}`);
    if (room === this.#room) return;
    this.#drafts.set(this.#room, this.#field.value);
    this.#room = room;
    this.#field.value = this.#drafts.get(room) ?? '';
    this.#measure();
  }

  focus(): void {
    this.#field.focus();
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes, Enter picks a candidate (229 is how Safari says it).
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  #submit(): void {
    const text = cleanText(this.#field.value);
    if (text === '' || byteLength(text) > MESSAGE_BYTES) return this.#measure();
    const refusal = this.#post(text);
    if (refusal === '') this.#field.value = '';
    this.#measure();
    if (refusal !== '') setText(this.#hint, refusal);
    this.#field.focus();
  }

  #measure(): void {
    const text = cleanText(this.#field.value);
    const size = byteLength(text);
    const left = MESSAGE_BYTES - size;
    this.#send.disabled = text === '' || left < 0;
    this.element.classList.toggle('is-over', left < 0);
    const over = `Too long by ${-left} bytes; a message holds ${MESSAGE_BYTES}.`;
    setText(this.#hint, left < 0 ? over : size > MESSAGE_BYTES_HINT ? `${left} bytes left` : '');
    // Set by script: a style attribute in markup would be refused by the page's policy, this is not.
    this.#field.style.height = 'auto';
    this.#field.style.height = `${Math.min(TALLEST, this.#field.scrollHeight)}px`;
  }
}
