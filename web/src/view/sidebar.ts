import type { RoomSummary, User } from '../protocol';
import { refusalOf } from '../refusal';
import { ROOMS_DRAWN, ROOMS_FILTER } from '../settings';
import { cleanText } from '../text';
import { avatar } from './avatar';
import { button, h, icon, iconButton, setAttribute, setText } from './dom';
import { KeyedList } from './list';

export interface SidebarActions {
  select(id: string): void;
  create(name: string): Promise<void>;
  signOut(): void;
}

interface Item {
  readonly room: RoomSummary;
  readonly current: boolean;
  readonly active: boolean;
}

/** The rooms: mine first, then those one could join; the way to make one; and who one is. */
export class Sidebar {
  readonly element: HTMLElement;
  readonly closeButton = iconButton('close', 'Close rooms', { class: 'icon-button only-narrow' });
  readonly #actions: SidebarActions;
  readonly #filter = h('input', {
    class: 'input filter',
    type: 'search',
    placeholder: 'Find a room',
    'aria-label': 'Find a room',
    'data-testid': 'room-filter',
  });
  readonly #name = h('input', {
    class: 'input',
    placeholder: 'New room',
    'aria-label': 'Name of a new room',
    'data-testid': 'room-new-name',
    maxlength: 64,
    autocomplete: 'off',
  });
  readonly #create = h(
    'button',
    { type: 'submit', class: 'icon-button accent', 'aria-label': 'Create room', title: 'Create room', 'data-testid': 'room-create' },
    icon('plus'),
  );
  readonly #problem = h('p', { class: 'problem', role: 'alert', 'data-testid': 'room-problem' });
  readonly #mine = h('ul', { class: 'rooms' });
  readonly #others = h('ul', { class: 'rooms' });
  readonly #mineTitle = h('h2', {}, 'Your rooms');
  readonly #othersTitle = h('h2', {}, 'More rooms');
  readonly #rest = h('p', { class: 'hint' });
  readonly #mineList: KeyedList<Item>;
  readonly #othersList: KeyedList<Item>;
  #last: { rooms: readonly RoomSummary[]; current: string | null; active: ReadonlySet<string>; known: boolean } | null = null;

  constructor(me: User, actions: SidebarActions) {
    this.#actions = actions;
    this.#mineList = this.#listIn(this.#mine);
    this.#othersList = this.#listIn(this.#others);
    const form = h('form', { class: 'new-room' }, this.#name, this.#create);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#filter.addEventListener('input', () => this.#redraw());
    this.element = h(
      'nav',
      { class: 'sidebar drawer', id: 'rooms', 'aria-label': 'Rooms' },
      this.#brand(),
      this.#filter,
      h(
        'div',
        { class: 'room-lists', 'data-testid': 'room-list' },
        this.#mineTitle, this.#mine, this.#othersTitle, this.#others, this.#rest,
      ),
      h('div', { class: 'sidebar-foot' }, form, this.#problem, this.#whoAmI(me)),
    );
  }

  show(rooms: readonly RoomSummary[], current: string | null, active: ReadonlySet<string>, known: boolean): void {
    this.#last = { rooms, current, active, known };
    this.#redraw();
  }

  #redraw(): void {
    if (this.#last === null) return;
    const { rooms, current, active, known } = this.#last;
    const wanted = this.#filter.value.trim().toLocaleLowerCase();
    const items = rooms
      .filter((room) => room.name.toLocaleLowerCase().includes(wanted))
      .sort((a, b) => a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1))
      .map((room) => ({ room, current: room.id === current, active: active.has(room.id) }));
    const mine = items.filter((item) => item.room.member);
    const others = items.filter((item) => !item.room.member);
    this.#mineList.show(mine.slice(0, ROOMS_DRAWN));
    this.#othersList.show(others.slice(0, ROOMS_DRAWN));
    this.#mineTitle.hidden = mine.length === 0;
    this.#othersTitle.hidden = others.length === 0;
    this.#filter.hidden = rooms.length < ROOMS_FILTER;
    const left = Math.max(0, mine.length - ROOMS_DRAWN) + Math.max(0, others.length - ROOMS_DRAWN);
    setText(this.#rest, left > 0 ? `${left} more: type to find them.` : this.#emptiness(known, items.length));
  }

  #emptiness(known: boolean, count: number): string {
    if (!known) return 'Loading rooms…';
    return count === 0 ? 'No room has that name.' : '';
  }

  #listIn(container: HTMLElement): KeyedList<Item> {
    return new KeyedList<Item>(container, {
      key: (item) => item.room.id,
      signature: (item) => JSON.stringify([item.room.name, item.room.member, item.current, item.active]),
      create: (item) => this.#item(item.room.id),
      update: updateItem,
    });
  }

  #item(id: string): HTMLElement {
    const link = button(
      { class: 'room-item', 'data-testid': 'room-item', 'data-room': id },
      h('span', { class: 'hash', 'aria-hidden': 'true' }, '#'),
      h('span', { class: 'room-name', dir: 'auto' }),
      h('span', { class: 'dot', role: 'img', 'aria-label': 'new messages', 'data-testid': 'room-activity' }),
    );
    link.addEventListener('click', () => this.#actions.select(id));
    return h('li', {}, link);
  }

  #brand(): HTMLElement {
    return h(
      'div',
      { class: 'sidebar-head' },
      h('img', { src: './logo.svg', alt: '', width: 28, height: 28 }),
      h('span', { class: 'wordmark' }, 'Parley'),
      this.closeButton,
    );
  }

  #whoAmI(me: User): HTMLElement {
    const out = iconButton('exit', 'Sign out', { 'data-testid': 'sign-out' });
    out.addEventListener('click', () => this.#actions.signOut());
    return h(
      'div',
      { class: 'me' },
      avatar(me),
      h('bdi', { class: 'me-name', 'data-testid': 'me', title: me.name }, me.name),
      out,
    );
  }

  async #submit(): Promise<void> {
    const name = cleanText(this.#name.value);
    if (name === '') return this.#name.focus();
    this.#create.disabled = true;
    setText(this.#problem, '');
    try {
      await this.#actions.create(name);
      this.#name.value = '';
    } catch (error) {
      setText(this.#problem, refusalOf(error).message);
    } finally {
      this.#create.disabled = false;
    }
  }
}

function updateItem(element: HTMLElement, item: Item): void {
  const link = element.firstElementChild as HTMLElement;
  setAttribute(link, 'aria-current', item.current ? 'page' : null);
  link.classList.toggle('is-active', item.active);
  link.classList.toggle('is-member', item.room.member);
  setAttribute(link, 'data-member', String(item.room.member));
  const name = link.querySelector('.room-name');
  if (name !== null) setText(name, item.room.name);
  const dot = link.querySelector<HTMLElement>('.dot');
  if (dot !== null) dot.hidden = !item.active;
}
