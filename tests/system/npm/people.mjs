// Clients on the npm SDK, over a WebSocket whose end can be forced, and waiting with a deadline.

import { createRequire } from 'node:module';
import { WebSocket } from 'ws';

const SECONDS = 30;
// The SDK is the one the page is built with.
const fromPage = createRequire(new URL('../../../web/package.json', import.meta.url));
const sdks = {
  json: fromPage('centrifuge').Centrifuge,
  protobuf: fromPage('centrifuge/build/protobuf').Centrifuge,
};
const people = [];

export async function until(condition, what, seconds = SECONDS) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

export class Person {
  constructor(url, token, protocol) {
    const person = this;
    this.protocol = protocol;
    this.bytes = 0;
    this.sockets = [];
    this.connected = [];
    this.endings = [];
    this.own = { subscribed: [], events: [] };
    class Socket extends WebSocket {
      constructor(...options) {
        super(...options);
        person.sockets.push(this);
        this.on('message', (data) => (person.bytes += data.length ?? data.byteLength));
      }
    }
    this.client = new sdks[protocol](url, { token, websocket: Socket, minReconnectDelay: 20, maxReconnectDelay: 500 });
    this.client.on('connected', (ctx) => this.connected.push(ctx));
    this.client.on('disconnected', (ctx) => this.endings.push(ctx));
    this.client.on('subscribed', (ctx) => this.own.subscribed.push(ctx));
    this.client.on('publication', (ctx) => this.own.events.push(this.read(ctx.data)));
    people.push(this);
  }

  async enter() {
    this.client.connect();
    await this.client.ready(SECONDS * 1000);
    return this;
  }

  // What the SDK takes as data: a value in JSON, bytes in Protobuf.
  write(value) {
    return this.protocol === 'json' ? value : new TextEncoder().encode(JSON.stringify(value));
  }

  read(data) {
    return this.protocol === 'json' ? data : JSON.parse(new TextDecoder().decode(data));
  }

  async call(method, body) {
    return this.read((await this.client.rpc(method, this.write(body))).data);
  }

  publish(channel, value) {
    return this.client.publish(channel, this.write(value));
  }

  // Subscribe, and note everything that comes.
  async follow(channel, options = {}) {
    const subscription = this.client.newSubscription(channel, { recoverable: true, positioned: true, ...options });
    const seat = { subscription, got: [], offsets: [], infos: [], subscribed: [], errors: [], joins: [], leaves: [] };
    subscription.on('publication', (ctx) => {
      seat.got.push(this.read(ctx.data));
      seat.offsets.push(ctx.offset);
      seat.infos.push(ctx.info);
    });
    subscription.on('subscribed', (ctx) => seat.subscribed.push(ctx));
    subscription.on('error', (ctx) => seat.errors.push(ctx.error.code));
    subscription.on('join', (ctx) => seat.joins.push(ctx.info));
    subscription.on('leave', (ctx) => seat.leaves.push(ctx.info));
    subscription.subscribe();
    await subscription.ready(SECONDS * 1000);
    return seat;
  }

  // Break the connection without a word; returns once the SDK has noticed.
  async cut() {
    const before = this.connected.length;
    this.sockets.at(-1).terminate();
    await until(() => this.client.state !== 'connected' || this.connected.length > before, 'the SDK notices');
  }

  async back(times) {
    await until(() => this.connected.length >= times, `connected ${times} times`);
    await this.client.ready(SECONDS * 1000);
  }
}

export function leaveAll() {
  for (const person of people) person.client.disconnect();
}
