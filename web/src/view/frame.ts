import type { Chat } from '../chat';
import { refusalOf } from '../refusal';
import { layOut } from '../rows';
import { Banner, Pill } from './banner';
import { Composer } from './composer';
import { ask, tell } from './dialog';
import { button, h, iconButton, setText } from './dom';
import { Drawer } from './drawer';
import { Log } from './log';
import { People } from './people';
import { Sidebar } from './sidebar';

/** Widths of frame.css: below the first the rooms are a drawer, below the second the people are. */
const NARROW = '(max-width: 760px)';
const MEDIUM = '(max-width: 1080px)';

export interface FrameActions {
  signOut(): void;
  signInAgain(): void;
}

/** The chat as one sees it: rooms, the room in front, who is there. Draws at most once per turn. */
export class Frame {
  readonly element: HTMLElement;
  readonly #chat: Chat;
  readonly #actions: FrameActions;
  readonly #sidebar: Sidebar;
  readonly #people = new People();
  readonly #pill = new Pill();
  readonly #banner: Banner;
  readonly #log: Log;
  readonly #composer: Composer;
  readonly #menu = iconButton('menu', 'Rooms', { class: 'icon-button only-narrow', 'data-testid': 'rooms-toggle' });
  readonly #who = iconButton('people', 'People here', { class: 'icon-button only-medium', 'data-testid': 'presence-toggle' });
  readonly #leave = iconButton('leave', 'Leave room', { 'data-testid': 'leave-room' });
  readonly #title = h('h1', { class: 'room-title', dir: 'auto', 'data-testid': 'room-title' });
  readonly #count = h('p', { class: 'room-count', 'data-testid': 'presence-count' });
  readonly #gate = h('section', { class: 'gate' });
  readonly #scrim = h('div', { class: 'scrim' });
  readonly #drawers: { rooms: Drawer; people: Drawer };
  readonly #onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') this.#hideDrawers();
  };
  #scheduled = false;
  #closed = false;
  #drawnGate = '';

  constructor(chat: Chat, actions: FrameActions) {
    this.#chat = chat;
    this.#actions = actions;
    const { rooms, courier, connection, me } = chat;
    this.#sidebar = new Sidebar(me, {
      select: (id) => this.#select(id),
      create: async (name) => {
        await rooms.create(name);
        this.#hideDrawers();
        this.#composer.focus();
      },
      signOut: () => void this.#signOut(),
    });
    this.#banner = new Banner(() => connection.connect(), actions.signInAgain);
    this.#log = new Log(me.id, {
      older: () => void rooms.front?.loadOlder(),
      resume: () => rooms.front?.resume(),
      rest: () => rooms.front?.rest(),
      retry: (id) => courier.retry(id),
      discard: (id) => courier.discard(id),
    });
    this.#composer = new Composer((text) => this.#post(text));
    this.element = this.#layOut();
    this.#drawers = {
      rooms: new Drawer(this.#sidebar.element, this.#menu, NARROW),
      people: new Drawer(this.#people.element, this.#who, MEDIUM),
    };
    this.#listen();
    this.#draw();
  }

  close(): void {
    this.#closed = true;
    document.removeEventListener('keydown', this.#onKey);
    this.#drawers.rooms.close();
    this.#drawers.people.close();
    document.body.classList.remove('has-drawer');
  }

  #layOut(): HTMLElement {
    const head = h(
      'header',
      { class: 'room-head' },
      this.#menu,
      h('div', { class: 'room-words' }, this.#title, this.#count),
      this.#pill.element,
      this.#who,
      this.#leave,
    );
    const talk = h('div', { class: 'talk' }, this.#log.element, this.#composer.element);
    const main = h('main', { class: 'room' }, head, this.#banner.element, this.#gate, talk);
    return h('div', { class: 'frame' }, this.#sidebar.element, main, this.#people.element, this.#scrim);
  }

  #listen(): void {
    const { rooms, connection } = this.#chat;
    const later = (): void => this.#schedule();
    rooms.changed.listen(later);
    rooms.redrawn.listen(later);
    connection.changed.listen(later);
    document.addEventListener('keydown', this.#onKey);
    this.#menu.addEventListener('click', () => this.#drawers.rooms.show());
    this.#who.addEventListener('click', () => this.#drawers.people.show());
    for (const closer of [this.#sidebar.closeButton, this.#people.closeButton, this.#scrim]) {
      closer.addEventListener('click', () => this.#hideDrawers());
    }
    this.#leave.addEventListener('click', () => void this.#leaveRoom());
  }

  #hideDrawers(): void {
    this.#drawers.rooms.hide();
    this.#drawers.people.hide();
  }

  /** A burst of events is one drawing. A timer, not an animation frame: those stop in a hidden tab. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#draw();
    }, 16);
  }

  #draw(): void {
    const { rooms, connection, me } = this.#chat;
    const status = connection.status;
    this.#pill.show(status);
    this.#banner.show(status);
    this.element.classList.toggle('is-cut', status.state !== 'online');
    this.#sidebar.show(rooms.list, rooms.current, rooms.active, rooms.known);
    const summary = rooms.summary(rooms.current);
    const room = rooms.front;
    setText(this.#title, summary?.name ?? (rooms.known ? 'No rooms yet' : ''));
    const here = room?.roster.people(me.id) ?? [];
    this.#people.show(here, summary?.members ?? 0, me, summary?.member === true);
    setText(this.#count, countWords(here.length, summary?.members ?? 0));
    this.#count.dataset['count'] = String(here.length);
    this.#leave.hidden = summary?.member !== true;
    this.#drawRoom();
    document.title = `${rooms.active.size > 0 ? '• ' : ''}${summary?.name ?? 'Chat'} · Parley`;
  }

  #drawRoom(): void {
    const { rooms, courier, me } = this.#chat;
    const summary = rooms.summary(rooms.current);
    const room = rooms.front;
    this.element.classList.toggle('is-talking', room !== null);
    this.#drawGate();
    if (room === null || summary === null) return;
    const { timeline, loaded, older, trouble } = room;
    const rows = layOut(timeline.events, courier.entries(room.id), me);
    this.#log.show({ room: room.id, name: summary.name, rows, loaded, more: timeline.more, older, trouble });
    this.#composer.show(room.id, summary.name);
  }

  /** What stands in the place of a room that is not open: the way in. */
  #drawGate(): void {
    const { rooms } = this.#chat;
    const summary = rooms.summary(rooms.current);
    const state = rooms.front !== null ? 'open' : summary === null ? `none ${rooms.known}` : `join ${summary.id} ${summary.members}`;
    if (state === this.#drawnGate) return;
    this.#drawnGate = state;
    if (rooms.front !== null) return this.#gate.replaceChildren();
    if (summary === null) {
      const words = rooms.known ? 'Create the first room.' : 'Opening your rooms…';
      return this.#gate.replaceChildren(h('p', { class: 'hint' }, words));
    }
    const join = button({ class: 'button primary', 'data-testid': 'join-room' }, 'Join room');
    const problem = h('p', { class: 'problem', role: 'alert' });
    join.addEventListener('click', () => void this.#joinRoom(summary.id, join, problem));
    this.#gate.replaceChildren(
      h('span', { class: 'big-hash', 'aria-hidden': 'true' }, '#'),
      h('h2', { dir: 'auto' }, summary.name),
      h('p', {}, `${countOf(summary.members, 'member')} · ${countOf(summary.messages, 'message')}`),
      join,
      problem,
    );
  }

  #select(id: string): void {
    this.#chat.rooms.select(id);
    this.#drawers.rooms.hide();
    this.#draw();
    // On a phone the keyboard would jump up over the room one came to read.
    if (this.#chat.rooms.front !== null && !window.matchMedia(NARROW).matches) this.#composer.focus();
  }

  #post(text: string): string {
    const room = this.#chat.rooms.front;
    if (room === null) return 'Join the room first.';
    if (!this.#chat.courier.post(room.id, text)) return 'Too many messages wait to be sent. Wait until you are online.';
    this.#log.toEnd();
    return '';
  }

  async #joinRoom(id: string, join: HTMLButtonElement, problem: HTMLElement): Promise<void> {
    join.disabled = true;
    setText(problem, '');
    try {
      await this.#chat.rooms.join(id);
      this.#draw();
      if (!window.matchMedia(NARROW).matches) this.#composer.focus();
    } catch (error) {
      join.disabled = false;
      setText(problem, refusalOf(error).message);
    }
  }

  async #leaveRoom(): Promise<void> {
    const id = this.#chat.rooms.current;
    if (id === null) return;
    this.#leave.disabled = true;
    try {
      await this.#chat.rooms.leave(id);
    } catch (error) {
      await tell('The room could not be left', refusalOf(error).message);
    } finally {
      this.#leave.disabled = false;
    }
  }

  async #signOut(): Promise<void> {
    const count = this.#chat.courier.unfinished;
    const title = 'Sign out with unsent messages?';
    const text = `${countOf(count, 'message')} not sent yet will be lost.`;
    if (count > 0 && !(await ask(title, text, 'Sign out'))) return;
    this.#actions.signOut();
  }
}

function countWords(here: number, members: number): string {
  const parts = here > 0 ? [`${here} here`] : [];
  if (members > 0) parts.push(countOf(members, 'member'));
  return parts.join(' · ');
}

function countOf(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
