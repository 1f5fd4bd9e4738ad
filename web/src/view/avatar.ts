import type { User } from '../protocol';
import { h } from './dom';

/** Colours of tokens.css: .hue-0 to .hue-9. */
const HUES = 10;

/** A coloured disc with initials. The colour is of the id, so that two people of one name differ. */
export function avatar(user: User, size: 'small' | 'large' = 'large'): HTMLElement {
  const classes = `avatar avatar-${size} hue-${hueOf(user.id)}`;
  return h('span', { class: classes, 'aria-hidden': 'true' }, initialsOf(user.name));
}

/** First letters of the first and last word, as the reader sees letters (not half of an emoji). */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/u).filter((word) => word !== '');
  const first = letterOf(words[0] ?? '');
  const last = words.length > 1 ? letterOf(words.at(-1) ?? '') : '';
  return (first + last).toUpperCase() || '?';
}

function letterOf(word: string): string {
  const segments = new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(word);
  for (const { segment } of segments) return segment;
  return '';
}

/** A stable small number of an id (FNV-1a). */
export function hueOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash % HUES;
}
