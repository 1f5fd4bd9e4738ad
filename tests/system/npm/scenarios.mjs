// What applications do with the npm SDK. Run one: `node scenarios.mjs NAME PROTOCOL '{"url", "tokens", "users"}'`.
// `tokens` are of two accounts; a scenario has the first in PROTOCOL and the second in the other encoding.

import assert from 'node:assert/strict';
import { Person, leaveAll, until } from './people.mjs';

const [name, protocol, given] = process.argv.slice(2);
const { url, tokens, users } = JSON.parse(given);
const other = protocol === 'json' ? 'protobuf' : 'json';
const ann = () => new Person(url, tokens[0], protocol).enter();
const ben = (its = other) => new Person(url, tokens[1], its).enter();
const fresh = (prefix) => `${prefix}${Math.random().toString(36).slice(2)}`;
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const scenarios = {
  async publish() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('news');
    const [here, there] = [await a.follow(channel), await b.follow(channel)];
    assert.ok(a.connected[0].client);
    assert.equal(a.connected[0].transport, 'websocket');
    const values = [{ text: 'grüße 👋\nline', list: [1, 2.5, null, true] }, 'text', 7, []];
    for (const value of values) await a.publish(channel, value);
    await b.publish(channel, 'answer');
    for (const seat of [here, there]) {
      await until(() => seat.got.length === 5, 'five publications');
      assert.deepEqual(seat.got, [...values, 'answer']);
      assert.deepEqual(seat.offsets, [1, 2, 3, 4, 5]);
      assert.equal(seat.infos[0].user, users[0]);
      assert.equal(seat.infos[0].client, a.connected[0].client);
      assert.equal(seat.infos[4].user, users[1]);
    }
    here.subscription.unsubscribe();
    await b.publish(channel, 'unheard');
    await until(() => there.got.length === 6, 'the sixth publication');
    assert.equal(here.got.length, 5);
    here.subscription.subscribe();
    await until(() => here.got.length === 6, 'what was missed');
    await assert.rejects(a.publish('room:aaaaaaaaaaaaaaaaaaaa', 'x'), (error) => error.code >= 100);
  },

  async rpc() {
    const [a, b] = [await ann(), await ben()];
    assert.deepEqual(await a.call('echo', { a: [1, 'ü'] }), { a: [1, 'ü'] });
    await assert.rejects(a.call('no.such', {}), { code: 104 });
    const { room } = await a.call('room.create', { name: 'A room' });
    await b.call('room.join', { room: room.id });
    const seat = await b.follow(`room:${room.id}`);
    const sent = await a.call('message.send', { room: room.id, id: 'm1', text: 'hello' });
    assert.deepEqual(await a.call('message.send', { room: room.id, id: 'm1', text: 'hello' }), sent);
    await until(() => seat.got.length === 1, 'the message');
    assert.equal(seat.got[0].text, 'hello');
    assert.equal(seat.got[0].offset, sent.offset);
    const page = await b.call('room.history', { room: room.id });
    assert.deepEqual(page.events.at(-1), seat.got[0]);
  },

  async presence() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('lobby');
    const here = await a.follow(channel, { joinLeave: true });
    await until(() => here.joins.length === 1, 'its own join');
    const there = await b.follow(channel, { joinLeave: true });
    await until(() => here.joins.length === 2, 'the join of the other');
    assert.deepEqual(here.joins.map((info) => info.user), users);
    const { clients } = await here.subscription.presence();
    assert.deepEqual(Object.keys(clients).sort(), [a, b].map((one) => one.connected[0].client).sort());
    assert.equal(clients[b.connected[0].client].user, users[1]);
    const stats = await there.subscription.presenceStats();
    assert.deepEqual([stats.numClients, stats.numUsers], [2, 2]);
    there.subscription.unsubscribe();
    await until(() => here.leaves.length === 1, 'the leave');
    assert.equal(here.leaves[0].client, b.connected[0].client);
    await until(async () => (await here.subscription.presenceStats()).numClients === 1, 'no ghost');
  },

  async history() {
    const a = await ann();
    const channel = fresh('past');
    const { subscription } = await a.follow(channel);
    for (const number of numbers(1, 7)) await a.publish(channel, number);
    const shown = async (options) => {
      const { publications, offset, epoch } = await subscription.history(options);
      return [publications.map((one) => a.read(one.data)), offset, epoch];
    };
    const [all, top, epoch] = await shown({ limit: -1 });
    assert.deepEqual([all, top], [numbers(1, 7), 7]);
    assert.ok(epoch);
    assert.deepEqual(await shown({ limit: 0 }), [[], 7, epoch]);
    assert.deepEqual((await shown({ limit: 3, since: { offset: 2, epoch } }))[0], [3, 4, 5]);
    assert.deepEqual((await shown({ limit: 2, reverse: true }))[0], [7, 6]);
    assert.deepEqual((await shown({ limit: 9, reverse: true, since: { offset: 4, epoch } }))[0], [3, 2, 1]);
    await assert.rejects(shown({ limit: 1, since: { offset: 2, epoch: 'other' } }), { code: 112 });
  },

  async recovery() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('feed');
    const seat = await a.follow(channel);
    await b.follow(channel); // only subscribers may publish here
    let sent = 0;
    for (const round of numbers(1, 5)) {
      for (let i = 0; i < 5; i++) await b.publish(channel, ++sent);
      await a.cut();
      for (let i = 0; i < 15; i++) await b.publish(channel, ++sent);
      await a.back(round + 1);
      await until(() => seat.got.length === sent, `everything of round ${round}`);
    }
    assert.deepEqual(seat.got, numbers(1, sent));
    assert.deepEqual(seat.offsets, numbers(1, sent));
    const returns = seat.subscribed.slice(1);
    assert.equal(returns.length, 5);
    assert.ok(returns.every((ctx) => ctx.wasRecovering && ctx.recovered));
    assert.deepEqual(seat.errors, []);
  },

  async delta() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('scores');
    const thrifty = await a.follow(channel, { delta: 'fossil' });
    const plain = await new Person(url, tokens[0], protocol).enter();
    const whole = await plain.follow(channel);
    await b.follow(channel);
    const before = [a.bytes, plain.bytes];
    const values = numbers(1, 60).map((n) => ({ n, board: 'ä line that stays — '.repeat(60), tail: `tail ${n % 7}` }));
    for (const [index, value] of values.entries()) {
      if (index === 40) {
        await until(() => thrifty.got.length === 40 && whole.got.length === 40, 'forty values');
        assert.ok(a.bytes - before[0] < (plain.bytes - before[1]) / 3, 'patches are shorter');
        await Promise.all([a.cut(), plain.cut()]);
      }
      await b.publish(channel, value);
    }
    for (const seat of [thrifty, whole]) {
      await until(() => seat.got.length === 60, 'sixty values');
      assert.deepEqual(seat.got, values);
      assert.ok(seat.subscribed[1].recovered);
    }
  },

  // A channel that keeps two publications: who missed more must read the state anew (error 112).
  async state() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('smallhistory:');
    const { subscription } = await b.follow(channel);
    const state = { value: 0, reads: 0 };
    let truth = 0;
    const set = async (value) => b.publish(channel, (truth = value));
    await set(1);
    const getState = async () => {
      const { offset, epoch } = await subscription.history({ limit: 0 });
      state.value = truth;
      state.reads++;
      return { offset, epoch };
    };
    const seat = await a.follow(channel, { getState });
    seat.subscription.on('publication', (ctx) => (state.value = a.read(ctx.data)));
    assert.deepEqual([state.value, state.reads], [1, 1]);
    await set(2);
    await until(() => state.value === 2, 'the live value');
    await a.cut();
    await set(3);
    await a.back(2);
    await until(() => state.value === 3, 'the missed value');
    assert.equal(state.reads, 1, 'one missed publication is recovered, without reading the state');
    a.sockets.at(-1).terminate();
    await until(() => a.client.state !== 'connected', 'the SDK notices');
    a.client.disconnect();
    for (const value of numbers(4, 9)) await set(value);
    await a.enter();
    await until(() => state.reads === 2 && state.value === 9, 'the state read anew');
    await set(10);
    await until(() => state.value === 10, 'live again');
    assert.ok(seat.subscribed.length >= 3);
  },

  // Without getState, a recovery that is not possible is told, and there is no part of it.
  async unrecovered() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('smallhistory:');
    const seat = await a.follow(channel);
    await b.follow(channel);
    await b.publish(channel, 1);
    await until(() => seat.got.length === 1, 'the first');
    a.client.disconnect();
    for (const value of numbers(2, 6)) await b.publish(channel, value);
    await a.enter();
    await until(() => seat.subscribed.length === 2, 'subscribed again');
    assert.deepEqual([seat.subscribed[1].wasRecovering, seat.subscribed[1].recovered], [true, false]);
    await b.publish(channel, 7);
    await until(() => seat.got.length === 2, 'the next');
    assert.deepEqual(seat.got, [1, 7]);
  },

  // The user's own channel, made by the server: what one device does, the others learn.
  async user() {
    const phone = await ann();
    const laptop = await new Person(url, tokens[0], other).enter();
    const own = `user:${users[0]}`;
    for (const device of [phone, laptop]) {
      await until(() => device.own.subscribed.length === 1, 'the server-side subscription');
      const { channel, recoverable, positioned } = device.own.subscribed[0];
      assert.deepEqual([channel, recoverable, positioned], [own, true, true]);
    }
    const { room } = await (await ben()).call('room.create', { name: 'Shared' });
    const mine = (device) => device.own.events.filter((event) => event.room === room.id);
    const kinds = (device) => mine(device).map((event) => event.type);
    await phone.call('room.join', { room: room.id });
    await until(() => kinds(phone).length === 1 && kinds(laptop).length === 1, 'joined, on both devices');
    await phone.call('message.send', { room: room.id, id: 'm1', text: 'hello' });
    await phone.call('room.read', { room: room.id, number: 1 });
    await until(() => kinds(laptop).length === 2, 'read, on the other device');
    assert.equal(mine(laptop)[1].number, 1);
    await laptop.cut();
    await phone.call('room.leave', { room: room.id });
    await laptop.back(2);
    for (const device of [phone, laptop]) {
      await until(() => kinds(device).length === 3, 'all three');
      assert.deepEqual(kinds(device), ['joined', 'read', 'left']);
    }
    assert.ok(laptop.own.subscribed.at(-1).recovered);
    assert.equal(laptop.endings.length, 0);
  },

  // Commands that are not waited for: the last one counts.
  async hurry() {
    const [a, b] = [await ann(), await ben()];
    const channel = fresh('hurry');
    const seat = await a.follow(channel);
    await b.follow(channel);
    for (const number of numbers(1, 40)) {
      seat.subscription.unsubscribe();
      seat.subscription.subscribe();
      if (number % 4 === 0) seat.subscription.unsubscribe();
      if (number % 4 === 0) seat.subscription.subscribe();
      await b.publish(channel, number);
    }
    await until(() => seat.got.length === 40, 'everything');
    assert.deepEqual(seat.got, numbers(1, 40));
    assert.equal(a.endings.length, 0);
  },

  // Bytes that are not JSON: whole between Protobuf clients; a JSON subscriber is ended with 3506.
  async bytes() {
    const [a, b] = [await new Person(url, tokens[0], 'protobuf').enter(), await ben('protobuf')];
    const reader = await ben('json');
    const channel = fresh('raw');
    const bytes = [...Array(256).keys()];
    a.read = b.read = (data) => [...data];
    const seats = [await a.follow(channel), await b.follow(channel)];
    await reader.follow(channel);
    await b.client.publish(channel, new Uint8Array(bytes));
    for (const seat of seats) {
      await until(() => seat.got.length === 1, 'the bytes');
      assert.deepEqual(seat.got[0], bytes);
    }
    await until(() => reader.endings.length === 1, 'the end of the JSON client');
    assert.equal(reader.endings[0].code, 3506);
    assert.equal(a.client.state, 'connected');
  },
};

try {
  await scenarios[name]();
  console.log('ok');
} catch (error) {
  console.log(error.stack ?? JSON.stringify(error));
  process.exitCode = 1;
} finally {
  leaveAll();
}
