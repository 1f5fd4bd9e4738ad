import { button, h } from './dom';

/** Shown while the server that serves this page cannot be asked for its addresses. */
export function waitingScreen(again: () => void): HTMLElement {
  const now = button({ class: 'button', 'data-testid': 'start-again' }, 'Try now');
  now.addEventListener('click', again, { once: true });
  return h(
    'main',
    { class: 'entry' },
    h(
      'div',
      { class: 'card waiting' },
      h('img', { src: './logo.svg', alt: '', class: 'logo', width: 56, height: 56 }),
      h('h1', {}, 'Parley'),
      h('p', { role: 'status' }, 'The server cannot be reached. Trying again on its own.'),
      now,
    ),
  );
}
