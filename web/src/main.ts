import './style/tokens.css';
import './style/controls.css';
import './style/entry.css';
import './style/frame.css';
import './style/log.css';
import { AuthApi } from './auth';
import { Chat } from './chat';
import { sweep } from './courier';
import type { User } from './protocol';
import { backoff } from './refusal';
import { Session } from './session';
import { fetchAddresses, OUTBOX_AGE_MS, RETRY_FIRST_MS, RETRY_LAST_MS, type Addresses } from './settings';
import { browserStorage } from './storage';
import { Entry } from './view/entry';
import { Frame } from './view/frame';
import { waitingScreen } from './view/waiting';

const storage = browserStorage();

/** Put one screen in the page. */
function show(screen: HTMLElement): void {
  document.getElementById('app')?.replaceChildren(screen);
}

/** Ask for the addresses until they are had: without them there is nothing to show but that. */
async function addresses(): Promise<Addresses> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await fetchAddresses();
    } catch (error) {
      console.warn('config.json could not be read', error);
      const delay = backoff(attempt, RETRY_FIRST_MS, RETRY_LAST_MS, Math.random());
      await new Promise<void>((resume) => {
        const timer = setTimeout(resume, delay);
        show(waitingScreen(() => (clearTimeout(timer), resume())));
      });
    }
  }
}

/** Composition root: entry screen or chat, whichever the session says, one at a time. */
class Page {
  readonly #addresses: Addresses;
  readonly #api: AuthApi;
  readonly #session: Session;
  #chat: Chat | null = null;
  #frame: Frame | null = null;

  constructor(where: Addresses) {
    this.#addresses = where;
    this.#api = new AuthApi(where.auth);
    // `navigator.locks` is missing on plain http except localhost; then tabs may race, within the server's grace.
    this.#session = new Session(this.#api, storage, navigator.locks as LockManager | undefined);
    this.#session.ended.listen((words) => this.#leave(words));
    window.addEventListener('storage', (event) => {
      if (this.#chat !== null) this.#session.follow(event.key, this.#chat.me);
    });
  }

  open(words: string): void {
    const user = this.#session.user;
    if (user === null) this.#enter(words);
    else this.#talk(user);
  }

  #enter(words: string): void {
    document.title = 'Parley';
    const entry = new Entry(this.#api, words, (grant) => {
      this.#session.start(grant);
      this.open('');
    });
    show(entry.element);
    entry.focus();
  }

  #talk(user: User): void {
    const chat = new Chat(user, this.#addresses, this.#session, storage);
    const frame = new Frame(chat, {
      signOut: () => {
        chat.clear();
        void this.#session.signOut();
      },
      signInAgain: () => this.#session.end(''),
    });
    this.#chat = chat;
    this.#frame = frame;
    show(frame.element);
    chat.start();
  }

  #leave(words: string): void {
    this.#frame?.close();
    this.#chat?.close();
    this.#chat = null;
    this.#frame = null;
    this.open(words);
  }
}

sweep(storage, Date.now(), OUTBOX_AGE_MS);
void addresses().then((where) => new Page(where).open(''));
