import { button, h } from './dom';

/** Ask a question; resolves to whether the reader chose `yes`. Escape means `no`. */
export function ask(title: string, text: string, yes: string, no = 'Cancel'): Promise<boolean> {
  return new Promise((resolve) => {
    const accept = button({ class: 'button danger', 'data-testid': 'dialog-yes' }, yes);
    const refuse = button({ class: 'button quiet', 'data-testid': 'dialog-no' }, no);
    const dialog = h(
      'dialog',
      { class: 'dialog', 'aria-labelledby': 'dialog-title' },
      h('h2', { id: 'dialog-title' }, title),
      h('p', {}, text),
      h('div', { class: 'dialog-buttons' }, refuse, yes === '' ? null : accept),
    );
    let answer = false;
    accept.addEventListener('click', () => {
      answer = true;
      dialog.close();
    });
    refuse.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    refuse.focus();
  });
}

/** Say something that has to be read. */
export async function tell(title: string, text: string): Promise<void> {
  await ask(title, text, '', 'Close');
}
