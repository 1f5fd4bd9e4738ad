/** Times as the reader's locale writes them. All arguments are ms since the epoch. */

const hourMinute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });
// The page speaks English, so its words for days do as well.
const weekday = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long' });
const dated = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });

export function timeOf(time: number): string {
  return hourMinute.format(time);
}

export function fullTimeOf(time: number): string {
  return full.format(time);
}

/** "Today", "Yesterday", "Monday, 3 March", with the year when it is another one. */
export function dayOf(time: number, now: number): string {
  const day = new Date(time);
  const today = new Date(now);
  if (day.toDateString() === today.toDateString()) return 'Today';
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (day.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return (day.getFullYear() === today.getFullYear() ? weekday : dated).format(day);
}
