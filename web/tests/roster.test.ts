import { expect, test } from 'vitest';
import { Roster } from '../src/roster';
import { ann, bo } from './events';

const names = (roster: Roster): string[] => roster.people(bo.id).map((user) => user.name);

test('one person with several connections is there once, until the last one leaves', () => {
  const roster = new Roster();
  roster.join({ client: 'c1', user: ann });
  roster.join({ client: 'c2', user: ann });
  expect(names(roster)).toEqual(['Ann']);
  roster.leave({ client: 'c1', user: ann });
  expect(names(roster)).toEqual(['Ann']);
  roster.leave({ client: 'c2', user: ann });
  expect(names(roster)).toEqual([]);
});

test('oneself comes first', () => {
  const roster = new Roster();
  roster.settle([{ client: 'c1', user: ann }, { client: 'c2', user: bo }]);
  expect(names(roster)).toEqual(['Bo', 'Ann']);
});

test('who left or came while the snapshot was under way is not undone by it', () => {
  const roster = new Roster();
  roster.expect();
  roster.leave({ client: 'c1', user: ann });
  roster.join({ client: 'c2', user: bo });
  roster.settle([{ client: 'c1', user: ann }]);
  expect(names(roster)).toEqual(['Bo']);
});

test('a snapshot replaces ghosts; a snapshot that never came leaves things as they are', () => {
  const roster = new Roster();
  roster.join({ client: 'ghost', user: ann });
  roster.expect();
  roster.abandon();
  expect(names(roster)).toEqual(['Ann']);
  roster.expect();
  roster.settle([]);
  expect(names(roster)).toEqual([]);
});
