import type { Row } from '../rows';
import { button, h, icon, setText } from './dom';
import { KeyedList } from './list';
import { drawRow, makeRow, signatureOf, type MessageActions } from './message';

export interface LogActions extends MessageActions {
  older(): void;
  resume(): void;
  /** The reader is at the newest message. */
  rest(): void;
}

/** What the log shows of one room. */
export interface LogView {
  readonly room: string;
  readonly name: string;
  readonly rows: readonly Row[];
  readonly loaded: boolean;
  readonly more: boolean;
  readonly older: 'idle' | 'loading' | 'failed';
  readonly trouble: string;
}

/** Within this many pixels of the end the reader counts as being there, and new messages keep them there. */
const NEAR_END = 60;
/** This close to the beginning the next older page is asked for. */
const NEAR_START = 320;

/** The scrolling log of the room in front. Keeps the reader's place whatever is added above or below. */
export class Log {
  readonly element: HTMLElement;
  readonly #scroller: HTMLElement;
  readonly #rows = h('div', { class: 'rows' });
  readonly #start = h('div', { class: 'start' });
  readonly #jump = button({ class: 'jump', 'data-testid': 'jump-newest' }, icon('down'), h('span', {}, 'Newest'));
  readonly #trouble = h('p', { class: 'trouble', role: 'alert' });
  readonly #actions: LogActions;
  #list: KeyedList<Row>;
  #view: LogView | null = null;
  #atEnd = true;
  #drawnStart = '';
  readonly #mine: string;

  constructor(mine: string, actions: LogActions) {
    this.#mine = mine;
    this.#actions = actions;
    this.#list = this.#freshList();
    this.#scroller = h(
      'div',
      { class: 'scroller', role: 'log', 'aria-label': 'Messages', 'aria-live': 'polite', tabindex: 0, 'data-testid': 'timeline' },
      this.#start,
      this.#rows,
    );
    this.#scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true });
    this.#jump.addEventListener('click', () => this.toEnd());
    this.#jump.hidden = true;
    const again = button({ class: 'link' }, 'Try again');
    again.addEventListener('click', () => this.#actions.resume());
    this.#trouble.append(h('span', {}), again);
    this.element = h('section', { class: 'log', 'aria-label': 'Conversation' }, this.#scroller, this.#trouble, this.#jump);
    // A growing composer or an opening keyboard must not hide the newest message.
    new ResizeObserver(() => this.#settle()).observe(this.#scroller);
  }

  show(view: LogView): void {
    const before = this.#view;
    if (before?.room !== view.room) this.#reset();
    this.#view = view;
    const grown = view.rows.length > 0 && before?.room === view.room && before.rows.at(-1)?.key !== view.rows.at(-1)?.key;
    const anchor = this.#atEnd ? null : this.#anchor();
    // What is read from history is not news: only what comes at the end is announced.
    this.#scroller.setAttribute('aria-busy', String(!grown));
    this.#drawStart(view);
    this.#list.show(view.rows);
    this.#drawTrouble(view.trouble);
    if (anchor === null) this.#pin();
    else this.#scroller.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    if (grown && !this.#atEnd) this.#jump.classList.add('has-news');
    this.#settle();
  }

  /** Go to the newest message. */
  toEnd(): void {
    this.#atEnd = true;
    this.#settle();
  }

  #reset(): void {
    this.#rows.replaceChildren();
    this.#list = this.#freshList();
    this.#atEnd = true;
  }

  #freshList(): KeyedList<Row> {
    return new KeyedList<Row>(this.#rows, {
      key: (row) => row.key,
      signature: signatureOf,
      create: (row) => makeRow(row, this.#mine, this.#actions),
      update: drawRow,
    });
  }

  #drawStart(view: LogView): void {
    const state = `${view.room} ${view.name} ${view.loaded || view.rows.length > 0} ${view.more} ${view.older}`;
    if (state === this.#drawnStart) return;
    this.#drawnStart = state;
    if (!view.loaded && view.rows.length === 0) return this.#start.replaceChildren(skeleton());
    if (view.older === 'failed') {
      const again = button({ class: 'link', 'data-testid': 'history-again' }, 'Try again');
      again.addEventListener('click', () => this.#actions.older());
      return this.#start.replaceChildren(h('p', { class: 'hint' }, 'Older messages could not be read. '), again);
    }
    if (view.more) {
      const words = view.older === 'loading' ? 'Reading older messages…' : '';
      return this.#start.replaceChildren(h('p', { class: 'hint' }, words));
    }
    this.#start.replaceChildren(beginning(view.name));
  }

  #drawTrouble(words: string): void {
    this.#trouble.hidden = words === '';
    const place = this.#trouble.firstElementChild;
    if (place !== null) setText(place, words);
  }

  /** The first row in sight, and where it stands. */
  #anchor(): { element: Element; top: number } | null {
    const edge = this.#scroller.getBoundingClientRect().top;
    for (const element of this.#rows.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom > edge) return { element, top: box.top };
    }
    return null;
  }

  #onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
    this.#jump.hidden = this.#atEnd;
    if (this.#atEnd) this.#jump.classList.remove('has-news');
    this.#askMore();
  }

  #pin(): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #settle(): void {
    if (this.#atEnd) this.#pin();
    this.#jump.hidden = this.#atEnd;
    if (this.#atEnd) this.#jump.classList.remove('has-news');
    this.#askMore();
  }

  /** Near the beginning (or with nothing to scroll) ask for older messages; at the end, say so. */
  #askMore(): void {
    const view = this.#view;
    if (view === null || !view.loaded) return;
    const nearStart = this.#scroller.scrollTop < NEAR_START;
    if (nearStart && view.more && view.older === 'idle') this.#actions.older();
    else if (this.#atEnd && !nearStart) this.#actions.rest();
  }
}

function beginning(name: string): HTMLElement {
  return h(
    'div',
    { class: 'beginning', 'data-testid': 'beginning' },
    h('span', { class: 'big-hash', 'aria-hidden': 'true' }, '#'),
    h('h2', { dir: 'auto' }, name),
    h('p', {}, 'This is where the room begins.'),
  );
}

function skeleton(): HTMLElement {
  const line = (): HTMLElement => h('div', { class: 'ghost' }, h('span', {}), h('div', {}, h('i', {}), h('i', {})));
  return h('div', { class: 'skeleton', role: 'status', 'aria-label': 'Reading messages' }, line(), line(), line());
}
