"""The official SDK, as pages have it, over HTTP streams and server-sent events."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.bench.clients import guest
from tests.bench.ring import ROOT, Ring
from tests.bench.streamed import FORMS

SDK = r"""
import { Centrifuge } from "%(module)s";
const [base, token, transport] = process.argv.slice(1);
class EventSource {  // browsers have one; this does what the SDK needs of it
  constructor(url) {
    this.stop = new AbortController();
    this.run(url).catch(error => this.stop.signal.aborted || this.onerror(error));
  }
  async run(url) {
    const answer = await fetch(url, { headers: { Accept: "text/event-stream" }, signal: this.stop.signal });
    if (!answer.ok) throw new Error(answer.status);
    this.onopen();
    let text = "";
    const decoder = new TextDecoder();
    for await (const piece of answer.body) {
      const events = (text + decoder.decode(piece, { stream: true })).split("\n\n");
      text = events.pop();
      for (const event of events) this.onmessage({ data: event.replace(/^data: /, "") });
    }
    this.onerror(new Error("ended"));
  }
  close() { this.stop.abort(); }
}
const binary = %(binary)s;
const out = value => binary ? new TextEncoder().encode(JSON.stringify(value)) : value;
const back = data => binary ? JSON.parse(new TextDecoder().decode(data)) : data;
const path = transport === "sse" ? "sse" : "http_stream";
const options = { token, emulationEndpoint: base + "/emulation", eventsource: EventSource };
const make = () => new Centrifuge([{ transport, endpoint: `${base}/connection/${path}` }], options);
const [ann, bob] = [make(), make()];
const seen = [];
for (const one of [ann, bob]) { one.on("error", error => seen.push(error)); one.connect(); await one.ready(); }
const call = async (one, method, body) => back((await one.rpc(method, out(body))).data);
const say = (one, text) => call(one, "message.send", { room, id: crypto.randomUUID(), text });
const room = (await call(ann, "room.create", { name: "A room" })).room.id;
const seat = ann.newSubscription("room:" + room, { recoverable: true });
const texts = [], recovered = [];
seat.on("publication", one => texts.push(back(one.data).text));
seat.on("subscribed", one => recovered.push([one.wasRecovering, one.recovered]));
seat.subscribe();
await seat.ready();
await say(bob, "a");
await say(ann, "b");
ann.disconnect();
await say(bob, "c");
ann.connect();
await seat.ready();
await say(bob, "d");
const end = Date.now() + 10000;
while (texts.length < 4 && Date.now() < end) await new Promise(done => setTimeout(done, 20));
ann.disconnect();
bob.disconnect();
console.log(JSON.stringify({ texts, recovered, seen }));
"""


@pytest.mark.parametrize(
    ("transport", "binary"), [("http_stream", False), ("http_stream", True), ("sse", False)], ids=FORMS
)
async def test_the_sdk_of_pages_lives_over_http(calm_ring: Ring, transport: str, binary: bool) -> None:
    """The JavaScript SDK connects, talks, leaves, comes back and recovers over either transport, either encoding."""
    beside = Path(sys.executable).parent / "node"
    node = str(beside) if beside.exists() else shutil.which("node")
    assert node, "node is missing: install requirements/node.txt"
    script = SDK % {"module": "centrifuge/build/protobuf" if binary else "centrifuge", "binary": json.dumps(binary)}
    account = await guest(calm_ring)
    process = await asyncio.create_subprocess_exec(
        node, "--input-type=module", "-e", script, calm_ring.gateway_url, account.access, transport,
        cwd=ROOT / "web", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    found = json.loads(output)
    assert found == {"texts": ["a", "b", "c", "d"], "recovered": [[False, False], [True, True]], "seen": []}
