import { AuthProblem, type AuthApi, type Grant } from '../auth';
import { button, h, setText } from './dom';

interface Field {
  readonly label: string;
  readonly testid: string;
  readonly type: string;
  readonly autocomplete: string;
}

/** The first screen: in as a guest, or with an account. */
export class Entry {
  readonly element: HTMLElement;
  readonly #api: AuthApi;
  readonly #done: (grant: Grant) => void;
  readonly #name = input({ label: 'Your name', testid: 'entry-name', type: 'text', autocomplete: 'nickname' });
  readonly #username = input({ label: 'Username', testid: 'entry-username', type: 'text', autocomplete: 'username' });
  readonly #password = input({
    label: 'Password',
    testid: 'entry-password',
    type: 'password',
    autocomplete: 'current-password',
  });
  readonly #guest = submit('entry-guest', 'Join as guest', 'primary');
  readonly #login = submit('entry-login', 'Log in', '');
  readonly #register = button({ class: 'button quiet', 'data-testid': 'entry-register' }, 'Create account');
  readonly #problem = h('p', { class: 'problem', role: 'alert', 'data-testid': 'entry-problem' });

  /** `words` tells why the last session ended, if there was one. */
  constructor(api: AuthApi, words: string, done: (grant: Grant) => void) {
    this.#api = api;
    this.#done = done;
    const guest = h('form', { class: 'fields', novalidate: true }, labelled(this.#name), this.#guest);
    const account = h(
      'form',
      { class: 'fields', novalidate: true },
      labelled(this.#username),
      labelled(this.#password),
      h('div', { class: 'pair' }, this.#login, this.#register),
    );
    guest.addEventListener('submit', (event) => this.#asGuest(event));
    account.addEventListener('submit', (event) => this.#asUser(event, 'login'));
    this.#register.addEventListener('click', (event) => this.#asUser(event, 'register'));
    this.element = h('main', { class: 'entry' }, this.#card(words, guest, account));
  }

  focus(): void {
    this.#name.focus();
  }

  #card(words: string, guest: HTMLElement, account: HTMLElement): HTMLElement {
    return h(
      'div',
      { class: 'card' },
      h(
        'header',
        { class: 'brand' },
        h('img', { src: './logo.svg', alt: '', class: 'logo', width: 56, height: 56 }),
        h('h1', {}, 'Parley'),
        h('p', {}, 'Rooms to talk in, on your own server.'),
      ),
      words === '' ? null : h('p', { class: 'words', role: 'status', 'data-testid': 'entry-words' }, words),
      this.#problem,
      guest,
      h('p', { class: 'or' }, h('span', {}, 'or with an account')),
      account,
    );
  }

  #asGuest(event: Event): void {
    event.preventDefault();
    const name = this.#name.value.trim();
    if (name === '') return this.#complain('Type the name others will see.', this.#name);
    void this.#try(() => this.#api.guest(name), this.#name);
  }

  #asUser(event: Event, path: 'login' | 'register'): void {
    event.preventDefault();
    const username = this.#username.value.trim();
    const password = this.#password.value;
    if (username === '') return this.#complain('Type your username.', this.#username);
    if (password === '') return this.#complain('Type your password.', this.#password);
    void this.#try(() => this.#api[path](username, password), this.#username);
  }

  async #try(attempt: () => Promise<Grant>, field: HTMLInputElement): Promise<void> {
    this.#setBusy(true);
    setText(this.#problem, '');
    try {
      this.#done(await attempt());
    } catch (error) {
      if (!(error instanceof AuthProblem)) throw error;
      this.#setBusy(false);
      this.#complain(error.message, field);
    }
  }

  #complain(words: string, field: HTMLInputElement): void {
    for (const other of [this.#name, this.#username, this.#password]) {
      other.removeAttribute('aria-invalid');
    }
    field.setAttribute('aria-invalid', 'true');
    setText(this.#problem, words);
    field.focus();
  }

  #setBusy(busy: boolean): void {
    this.element.setAttribute('aria-busy', String(busy));
    for (const control of [this.#guest, this.#login, this.#register]) control.disabled = busy;
  }
}

function input(field: Field): HTMLInputElement {
  return h('input', {
    id: field.testid,
    class: 'input',
    'data-testid': field.testid,
    'data-label': field.label,
    type: field.type,
    autocomplete: field.autocomplete,
    autocapitalize: 'off',
    spellcheck: 'false',
    maxlength: field.type === 'password' ? 1024 : 64,
  });
}

function labelled(control: HTMLInputElement): HTMLElement {
  return h('div', { class: 'field' }, h('label', { for: control.id }, control.dataset['label'] ?? ''), control);
}

function submit(testid: string, words: string, look: string): HTMLButtonElement {
  return h('button', { type: 'submit', class: `button ${look}`, 'data-testid': testid }, words);
}
