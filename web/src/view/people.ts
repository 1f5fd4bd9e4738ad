import type { User } from '../protocol';
import { avatar } from './avatar';
import { h, iconButton, setText } from './dom';
import { KeyedList } from './list';

interface Person {
  readonly user: User;
  readonly self: boolean;
}

/** Who is in the room right now. */
export class People {
  readonly element: HTMLElement;
  readonly closeButton = iconButton('close', 'Close people', { class: 'icon-button only-medium' });
  readonly #title = h('h2', {}, 'Here now');
  readonly #away = h('p', { class: 'hint' });
  readonly #list: KeyedList<Person>;

  constructor() {
    const list = h('ul', { class: 'people-list', 'data-testid': 'presence-list' });
    this.#list = new KeyedList<Person>(list, {
      key: (person) => person.user.id,
      signature: (person) => JSON.stringify([person.user.name, person.self]),
      create: () => h('li', { class: 'person', 'data-testid': 'presence-item' }),
      update: drawPerson,
    });
    this.element = h(
      'aside',
      { class: 'people drawer', id: 'people', 'aria-label': 'People in this room' },
      h('div', { class: 'people-head' }, this.#title, this.closeButton),
      list,
      this.#away,
    );
  }

  /** `members` is how many belong to the room, here or not; `joined` whether the reader is one of them. */
  show(here: readonly User[], members: number, me: User, joined: boolean): void {
    this.#list.show(here.map((user) => ({ user, self: user.id === me.id })));
    setText(this.#title, here.length === 0 ? 'Here now' : `Here now · ${here.length}`);
    const away = members - here.length;
    const left = here.length > 0 && away > 0 ? `${away} ${away === 1 ? 'member is' : 'members are'} away` : '';
    setText(this.#away, joined ? left : 'Join the room to see who is here.');
  }
}

function drawPerson(element: HTMLElement, person: Person): void {
  element.dataset['user'] = person.user.id;
  element.replaceChildren(
    avatar(person.user, 'small'),
    h('bdi', { class: 'person-name', title: person.user.name }, person.user.name),
    person.self ? h('span', { class: 'tag' }, 'you') : '',
  );
}
