/** The only ways elements are made. Text goes in as text nodes; nothing here or elsewhere parses markup. */

type Child = Node | string | null;

interface Attributes {
  readonly [name: string]: string | number | boolean | null | undefined;
}

/**
 * Make an element. `attributes` are set by name; true sets an empty attribute, false, null and undefined none.
 * The page's Content Security Policy forbids inline style and script: no `style`, no `on...`.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(...children.filter((child): child is Node | string => child !== null));
  return element;
}

/** Set or remove one attribute. */
export function setAttribute(element: Element, name: string, value: Attributes[string]): void {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : String(value));
}

/** Set text only when it differs, so that live regions do not announce what did not change. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = 'http://www.w3.org/2000/svg';

const PATHS = {
  menu: 'M4 7h16M4 12h16M4 17h16',
  people: 'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5c.6-3.4 3.3-5 6.5-5s5.9 1.6 6.5 5M15.5 4.9a3.5 3.5 0 0 1 0 6.2M18 14.9c1.9.7 3.2 2.2 3.5 4.6',
  leave: 'M14 4.5H6.5a1 1 0 0 0-1 1v13a1 1 0 0 0 1 1H14M10.5 12h10M17 8l4 4-4 4',
  send: 'M4.5 12h15M13 5.5l6.5 6.5-6.5 6.5',
  plus: 'M12 5v14M5 12h14',
  down: 'M12 5v14M6 13l6 6 6-6',
  close: 'M6 6l12 12M18 6L6 18',
  clock: 'M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM12 7.5V12l3 2',
  alert: 'M12 8v5M12 16.3v.2M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z',
  exit: 'M12 3.5v8M7 6.3a8 8 0 1 0 10 0',
} as const;

export type IconName = keyof typeof PATHS;

/** A decorative line icon; what it means has to be said beside it or in a label. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that never submits a form by accident. */
export function button(attributes: Attributes, ...children: Child[]): HTMLButtonElement {
  return h('button', { type: 'button', ...attributes }, ...children);
}

/** A square button with only an icon; `label` is its name and its tooltip. */
export function iconButton(name: IconName, label: string, attributes: Attributes = {}): HTMLButtonElement {
  return button({ class: 'icon-button', 'aria-label': label, title: label, ...attributes }, icon(name));
}
