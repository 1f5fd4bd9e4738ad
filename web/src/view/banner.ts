import type { Status } from '../status';
import { SESSION_REVOKED } from '../status';
import { button, h, icon, setText } from './dom';

const LABELS = { connecting: 'Connecting', online: 'Online', reconnecting: 'Reconnecting', offline: 'Offline' } as const;

/** The connection at a glance: always there, quiet while all is well. */
export class Pill {
  readonly element: HTMLElement;
  readonly #label = h('span', { class: 'pill-label' });

  constructor() {
    this.element = h(
      'span',
      { class: 'pill', role: 'status', 'data-testid': 'connection-state' },
      h('span', { class: 'pill-dot', 'aria-hidden': 'true' }),
      this.#label,
    );
  }

  show(status: Status): void {
    this.element.dataset['state'] = status.state;
    this.element.title = status.reason;
    setText(this.#label, LABELS[status.state]);
  }
}

/** Why one is not online, and what can be done. Absent while online and during the first connecting. */
export class Banner {
  readonly element: HTMLElement;
  readonly #words = h('span', { class: 'banner-words', 'data-testid': 'connection-reason' });
  readonly #again = button({ class: 'button small', 'data-testid': 'connect-again' }, 'Try again');
  readonly #signIn = button({ class: 'button small primary', 'data-testid': 'sign-in-again' }, 'Sign in again');

  constructor(connect: () => void, signInAgain: () => void) {
    this.#again.addEventListener('click', connect);
    this.#signIn.addEventListener('click', signInAgain);
    this.element = h('div', { class: 'banner', role: 'status' }, icon('alert'), this.#words, this.#again, this.#signIn);
    this.element.hidden = true;
  }

  show(status: Status): void {
    this.element.hidden = status.state === 'online' || status.state === 'connecting';
    this.element.dataset['state'] = status.state;
    setText(this.#words, status.reason);
    this.#signIn.hidden = !status.final;
    this.#again.hidden = !status.final || status.code === SESSION_REVOKED;
  }
}
