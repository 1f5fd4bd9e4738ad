import { expect, test } from 'vitest';
import { Timeline } from '../src/timeline';
import { message, messages } from './events';

const offsets = (timeline: Timeline): number[] => timeline.events.map((event) => event.offset);

test('events stand in offset order however they arrive, each once', () => {
  const timeline = new Timeline();
  expect(timeline.add([message(5), message(3), message(5), message(4)])).toBe(3);
  expect(timeline.add([message(3)])).toBe(0);
  expect(offsets(timeline)).toEqual([3, 4, 5]);
});

test('the first page after a live event takes it up without a gap', () => {
  const timeline = new Timeline();
  timeline.add([message(101)]);
  timeline.settle(messages(51, 100), true);
  expect(timeline.first).toBe(51);
  expect(timeline.last).toBe(101);
  expect(timeline.gap(101)).toBeNull();
  expect(timeline.more).toBe(true);
});

test('a newest page that does not touch what is held replaces it, and older ones can be paged in again', () => {
  const timeline = new Timeline();
  timeline.settle(messages(1, 10), false);
  expect(timeline.more).toBe(false);
  timeline.settle(messages(60, 70), true);
  expect(offsets(timeline)).toEqual(messages(60, 70).map((event) => event.offset));
  expect(timeline.more).toBe(true);
});

test('a newest page that touches what is held keeps what was paged in before', () => {
  const timeline = new Timeline();
  timeline.settle(messages(1, 10), false);
  timeline.settle(messages(8, 14), true);
  expect(timeline.first).toBe(1);
  expect(timeline.last).toBe(14);
  expect(timeline.more).toBe(false);
});

test('an event heard live while the newest page was on its way survives it', () => {
  const timeline = new Timeline();
  timeline.settle(messages(1, 10), false);
  timeline.add([message(71)]);
  timeline.settle(messages(60, 70), true);
  expect(timeline.first).toBe(60);
  expect(timeline.last).toBe(71);
});

test('a gap is named by the offset before it and the last one missing', () => {
  const timeline = new Timeline();
  timeline.add([...messages(1, 3), ...messages(7, 9)]);
  expect(timeline.gap(9)).toEqual({ after: 3, until: 6 });
  timeline.add(messages(4, 6));
  expect(timeline.gap(9)).toBeNull();
});

test('a position beyond the last event is a gap at the end', () => {
  const timeline = new Timeline();
  timeline.add(messages(1, 3));
  expect(timeline.gap(5)).toEqual({ after: 3, until: 5 });
  expect(new Timeline().gap(0)).toBeNull();
  expect(new Timeline().gap(2)).toEqual({ after: 0, until: 2 });
});

test('an event of an unknown type fills its offset', () => {
  const timeline = new Timeline();
  timeline.add([message(1), { type: 'other', offset: 2 }, message(3)]);
  expect(timeline.gap(3)).toBeNull();
});

test('a log held from its first event has no more, whatever a page said', () => {
  const timeline = new Timeline();
  timeline.settle(messages(1, 50), true);
  expect(timeline.more).toBe(false);
});

test('trimming forgets the oldest and remembers that there is more', () => {
  const timeline = new Timeline();
  timeline.settle(messages(1, 20), false);
  expect(timeline.trim(5)).toBe(true);
  expect(offsets(timeline)).toEqual([16, 17, 18, 19, 20]);
  expect(timeline.more).toBe(true);
  expect(timeline.trim(5)).toBe(false);
});
