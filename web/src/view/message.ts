import type { MessageRow, NoticeRow, Row } from '../rows';
import { avatar } from './avatar';
import { dayOf, fullTimeOf, timeOf } from './clock';
import { button, h, icon, setAttribute } from './dom';

export interface MessageActions {
  retry(id: string): void;
  discard(id: string): void;
}

const NOTICES = { joined: 'joined the room', left: 'left the room', created: 'created the room' } as const;

/** Everything a row's drawing depends on. */
export function signatureOf(row: Row): string {
  if (row.kind === 'message') return `${row.state}|${row.head}|${row.offset}|${row.number}|${row.reason}|${row.time}`;
  return row.kind === 'day' ? dayOf(row.time, Date.now()) : row.what;
}

/** Make the element of a row; `drawRow` fills what may change. */
export function makeRow(row: Row, mine: string, actions: MessageActions): HTMLElement {
  if (row.kind === 'day') return h('div', { class: 'day', role: 'separator' }, h('span', {}));
  if (row.kind === 'notice') return makeNotice(row);
  return makeMessage(row, row.user.id === mine, actions);
}

/** Bring the element of a row up to date. */
export function drawRow(element: HTMLElement, row: Row): void {
  if (row.kind === 'day') element.firstElementChild?.replaceChildren(dayOf(row.time, Date.now()));
  if (row.kind === 'message') drawMessage(element, row);
}

function makeNotice(row: NoticeRow): HTMLElement {
  return h(
    'p',
    { class: 'notice', 'data-testid': 'notice', 'data-type': row.what },
    h('bdi', {}, row.user.name),
    ` ${NOTICES[row.what]}`,
    clockOf(row.time),
  );
}

function makeMessage(row: MessageRow, own: boolean, actions: MessageActions): HTMLElement {
  const retry = button({ class: 'link', 'data-testid': 'message-retry' }, 'Try again');
  const discard = button({ class: 'link', 'data-testid': 'message-discard' }, 'Discard');
  retry.addEventListener('click', () => actions.retry(row.id));
  discard.addEventListener('click', () => actions.discard(row.id));
  return h(
    'article',
    { class: own ? 'message is-own' : 'message', 'data-testid': 'message', 'data-user': row.user.id },
    h('div', { class: 'gutter' }, avatar(row.user), clockOf(row.time)),
    h(
      'div',
      { class: 'body' },
      h(
        'header',
        { class: 'byline' },
        h('bdi', { class: 'author', 'data-testid': 'message-author' }, row.user.name),
        clockOf(row.time),
      ),
      h('p', { class: 'text', dir: 'auto', 'data-testid': 'message-text' }, row.text),
      h('p', { class: 'fate is-pending' }, icon('clock'), 'Sending…'),
      h('p', { class: 'fate is-failed' }, icon('alert'), h('span', { class: 'why' }), retry, discard),
    ),
  );
}

function drawMessage(element: HTMLElement, row: MessageRow): void {
  element.classList.toggle('is-head', row.head);
  element.dataset['state'] = row.state;
  setAttribute(element, 'data-offset', row.offset || null);
  setAttribute(element, 'data-number', row.number || null);
  for (const clock of element.querySelectorAll('time')) setClock(clock, row.time);
  const fate = (name: string): HTMLElement | null => element.querySelector(`.fate.${name}`);
  fate('is-pending')?.toggleAttribute('hidden', row.state !== 'pending');
  fate('is-failed')?.toggleAttribute('hidden', row.state !== 'failed');
  element.querySelector('.why')?.replaceChildren(`Not sent: ${row.reason || 'refused'}`);
}

function clockOf(time: number): HTMLTimeElement {
  const element = h('time', { class: 'clock' });
  setClock(element, time);
  return element;
}

function setClock(element: HTMLTimeElement, time: number): void {
  element.dateTime = new Date(time).toISOString();
  element.title = fullTimeOf(time);
  element.textContent = timeOf(time);
}
