"""HTTP streaming and server-sent events: a client behind a proxy that breaks WebSockets misses nothing but speed."""

import asyncio
import io
import json
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from centrifuge.protocol import client_pb2 as pb
from google.protobuf.proto import parse_length_prefixed

from tests.bench import processes
from tests.bench.clients import SECONDS, Account, bearer, eventually, guest, http
from tests.bench.metrics import metric
from tests.bench.ring import ROOT, Ring
from tests.bench.streamed import FORMS, OCTETS, Json, Streamed

Come = Callable[..., Awaitable[Streamed]]


@pytest.fixture
async def come() -> AsyncIterator[Come]:
    """Have guests come in over HTTP: `await come(ring, "lines")`."""
    async with AsyncExitStack() as stack:

        async def one(ring: Ring, form: str = "lines", pong: bool = True, token: str = "") -> Streamed:
            while True:
                made = Streamed(ring, form, pong)
                stack.push_async_callback(made.leave)
                await made.open(token=token or (await guest(ring)).access)
                if await made.entered():
                    return made

        yield one


async def on_both_nodes(come: Come, ring: Ring, form: str = "lines") -> list[Streamed]:
    """Return connected clients, of which each process of the gateway holds one at least."""
    found = [await come(ring, form)]
    while len({one.node for one in found}) < 2:
        assert len(found) < 100, "every connection reaches one process"
        found.append(await come(ring, form))
    return found


# What a client does all day.


@pytest.mark.parametrize("form", FORMS)
async def test_a_client_lives_over_http(calm_ring: Ring, come: Come, form: str) -> None:
    """Connect, rooms, messages both ways and presence, as over a WebSocket, in JSON lines, Protobuf and events."""
    ann, bob = await come(calm_ring, form), await come(calm_ring, form)
    room = (await ann.call("room.create", name="A room"))["room"]["id"]
    await bob.call("room.join", room=room)
    assert (await ann.follow(room, join_leave=True))["recoverable"] is True
    await bob.follow(room)
    await ann.until(lambda: sum("join" in push for push in ann.pushes) == 2, "both joined")
    await ann.say(room, "a", "ä\nö 🎈")
    await bob.say(room, "c")
    for one in (ann, bob):
        await one.until(lambda one=one: len(one.texts) == 3, "all messages")
        assert one.texts == ["a", "ä\nö 🎈", "c"]
    presence = (await ann.ask(presence={"channel": f"room:{room}"}))["presence"]["presence"]
    assert len(presence) == 2
    await bob.leave()
    await ann.until(lambda: any("leave" in push for push in ann.pushes), "bob is seen to leave")


@pytest.mark.parametrize("form", ["lines", "events"])
async def test_line_ends_in_json_end_no_message(calm_ring: Ring, come: Come, form: str) -> None:
    """JSON may hold carriage returns between its tokens, which end a line of an event stream; replies arrive whole."""
    one = await come(calm_ring, form)
    await one.post(b'{"id":70,"rpc":{"method":"echo","data":{"a":\r1,\r"b":"\\r\\n"}}}')
    await one.until(lambda: 70 in one.replies, "the reply")
    assert one.replies[70]["rpc"]["data"] == {"a": 1, "b": "\r\n"}
    if form == "events":
        assert b"\r" not in one.all


@pytest.mark.parametrize("form", FORMS)
async def test_what_was_missed_is_recovered(calm_ring: Ring, come: Come, form: str) -> None:
    """Who comes back over HTTP with a position gets each event after it, in order."""
    account = await guest(calm_ring)
    ann, bob = await come(calm_ring, form, token=account.access), await come(calm_ring, form)
    room = (await ann.call("room.create", name="A room"))["room"]["id"]
    position = await ann.follow(room)
    await bob.call("room.join", room=room)
    await ann.leave()
    await bob.say(room, *"xyz")
    ann = await come(calm_ring, form, token=account.access)
    result = await ann.follow(
        room, recover=True, recoverable=True, epoch=position["epoch"], offset=position.get("offset", 0)
    )
    assert result["recovered"] is True
    assert [one["offset"] for one in result["publications"]] == [3, 4, 5, 6]
    assert [one["data"].get("text") for one in result["publications"]] == [None, "x", "y", "z"]


async def test_socket_and_stream_share_a_room(calm_ring: Ring, come: Come, entered: Any) -> None:
    """A room does not tell transports apart."""
    ann, bob = await come(calm_ring), await entered(calm_ring)
    room = await bob.make_room()
    await bob.follow(room)
    await ann.call("room.join", room=room)
    await ann.follow(room)
    await ann.say(room, "from a stream")
    await bob.say(room, "from a socket")
    await bob.until(lambda: len(bob.texts(room)) == 2, "both arrive")
    await ann.until(lambda: ann.texts == bob.texts(room) == ["from a stream", "from a socket"], "both arrive")


@pytest.mark.parametrize("form", FORMS)
async def test_frames_reach_their_stream_through_any_process(calm_ring: Ring, come: Come, form: str) -> None:
    """A frame may be posted to a process that does not hold the stream: it is passed on, and in order."""
    one = await come(calm_ring, form)
    before = {way: await metric(calm_ring, "parley_emulated_frames_total", result=way) for way in ("here", "passed_on")}

    async def grown(way: str) -> bool:
        return await metric(calm_ring, "parley_emulated_frames_total", result=way) > before[way]

    sent = 0
    while sent < 20 or not (await grown("here") and await grown("passed_on")):
        assert sent < 400, "every post reaches one process"
        sent += 1
        assert (await one.call("echo", number=sent)) == {"number": sent}


async def test_a_burst_of_frames_is_answered_whole(calm_ring: Ring, come: Come) -> None:
    """A hundred posts at once are all taken and all answered."""
    one = await come(calm_ring)
    replies = await asyncio.gather(*(one.call("echo", number=number) for number in range(100)))
    assert [reply["number"] for reply in replies] == list(range(100))


@pytest.mark.parametrize("form", FORMS)
async def test_pings_are_answered_by_posts(strict_ring: Ring, come: Come, form: str) -> None:
    """The heartbeat works over HTTP: three rounds with a pong each, and the stream is still there."""
    one = await come(strict_ring, form)
    await one.until(lambda: one.pings >= 3, "three pings")
    assert await one.call("echo", still="here") == {"still": "here"}


@pytest.mark.parametrize("form", FORMS)
async def test_without_a_pong_the_stream_ends(strict_ring: Ring, come: Come, form: str) -> None:
    """A client that does not answer is told so by the last message, and the response ends."""
    one = await come(strict_ring, form, pong=False)
    assert await one.end() == (3012, "no pong")


async def test_an_http_header_proves_who_asks(calm_ring: Ring, come: Come) -> None:
    """The dependency of the WebSocket endpoint serves streams as well; a wrong token gets no stream."""
    account = await guest(calm_ring)
    one = Streamed(calm_ring, "lines")
    try:
        await one.open(headers=bearer(account))
        await one.until(lambda: 1 in one.replies, "a connect reply")
        assert f"user:{account.id}" in one.replies[1]["connect"]["subs"]
    finally:
        await one.leave()
    answer = await http(
        "POST", f"{calm_ring.gateway_url}/connection/http_stream", headers={"Authorization": "Bearer x"}
    )
    assert answer.status_code == 401


# How it looks on the wire.


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("lines", "application/x-ndjson"), ("protobuf", "application/octet-stream"), ("events", "text/event-stream")],
)
async def test_nobody_on_the_way_may_keep_a_stream(calm_ring: Ring, come: Come, form: str, media_type: str) -> None:
    """The headers forbid caching, buffering and compressing, and name the form."""
    one = await come(calm_ring, form)
    assert one.head is not None
    assert one.head.status_code == 200
    assert one.head.headers["content-type"].partition(";")[0] == media_type
    assert {"no-cache", "no-store", "no-transform"} <= set(one.head.headers["cache-control"].split(", "))
    assert one.head.headers["x-accel-buffering"] == "no"
    assert "content-length" not in one.head.headers


@pytest.mark.parametrize("query", ["?cf_protocol=protobuf", "?format=protobuf"])
async def test_the_query_may_choose_protobuf(calm_ring: Ring, query: str) -> None:
    """As on a WebSocket, Protobuf may be asked for in the address."""
    frame = Streamed(calm_ring, "protobuf").encode({"id": 1, "connect": {"token": "x"}})
    answer = await http("POST", f"{calm_ring.gateway_url}/connection/http_stream{query}", content=frame)
    message = parse_length_prefixed(pb.Reply, io.BytesIO(answer.content))
    assert message is not None
    assert message.push.disconnect.code == 3500


@pytest.mark.parametrize("form", FORMS)
async def test_a_refused_connect_is_the_last_message(calm_ring: Ring, form: str) -> None:
    """A token that is no token ends the stream with its code, in whatever form."""
    one = await Streamed(calm_ring, form).open(token="x")
    assert await one.end() == (3500, "invalid token")


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"", {}), (b"nonsense", {}), (b"\xff", {}), (b"", OCTETS), (b"\xff\xff\xff", OCTETS)],
)
async def test_a_bad_first_frame_ends_the_stream(calm_ring: Ring, body: bytes, headers: dict[str, str]) -> None:
    """What is no command is answered as on a WebSocket: 3501."""
    url = f"{calm_ring.gateway_url}/connection/http_stream"
    answer = await http("POST", url, content=body, headers=headers)
    assert answer.status_code == 200
    assert b"bad request" in answer.content
    if not headers:
        assert answer.json() == {"push": {"disconnect": {"code": 3501, "reason": "bad request"}}}


@pytest.mark.parametrize("form", FORMS)
async def test_a_bad_later_frame_ends_the_stream(calm_ring: Ring, come: Come, form: str) -> None:
    """A posted frame that is no command ends the connection with 3501. Posts that cross with the end are dropped, not
    refused, since SDKs would give the stream up before they have read why it ended."""
    one = await come(calm_ring, form)
    assert (await one.post(b"\xff" if form == "protobuf" else b"nonsense")).status_code == 204
    assert (await one.post(one.encode({"id": 9, "rpc": {"method": "echo"}}))).status_code == 204
    assert await one.end() == (3501, "bad request")
    assert 9 not in one.replies


async def test_the_other_encoding_ends_the_stream(calm_ring: Ring, come: Come) -> None:
    """A Protobuf frame for a JSON stream ends it with 3506."""
    one = await come(calm_ring, "lines")
    other = Streamed(calm_ring, "protobuf")
    assert (await other.post(b"\0", node=one.node, session=one.session)).status_code == 204
    assert await one.end() == (3506, "inappropriate protocol")


# What is refused.


@pytest.mark.parametrize("form", ["lines", "protobuf"])
async def test_unknown_sessions_and_nodes_are_not_found(calm_ring: Ring, come: Come, form: str) -> None:
    """A frame for nobody is 404, through whichever process, so that SDKs connect again; nothing else is reached."""
    one, other = await come(calm_ring, form), await come(calm_ring, form)
    gone = one.session
    await one.leave()

    async def forgotten() -> bool:
        return (await other.post(other.encode({"id": 1}), session=gone, node=one.node)).status_code == 404

    await eventually(forgotten, "the session is gone with its client")
    wrong = [{"node": node} for node in ("a" * 20, "control", "gateway", "a.b", "*", ">", "", "ä", "a" * 5000)]
    for changed in [*wrong, {"session": ""}, {"session": "x" * 5000}, {"session": other.node}]:
        for _ in range(4):
            assert (await other.post(other.encode({"id": 1}), **changed)).status_code == 404, changed
    assert await other.call("echo", still="here") == {"still": "here"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{}", {}),
        (b"[]", {}),
        (b"nonsense", {}),
        (b'{"node":"n","session":"s","data":{"id":1}}', {}),
        (b'{"node":"n","session":"s","data":"\\ud800"}', {}),
        (b'{"node":1,"session":"s","data":"{}"}', {}),
        (b"[" * 60000, {}),
        (b"\xff", {}),
        (b"\xff\xff\xff", OCTETS),
        (b"{}", OCTETS),
    ],
)
async def test_what_cannot_be_decoded_is_a_bad_request(calm_ring: Ring, body: bytes, headers: dict[str, str]) -> None:
    """A post that is not of the encoding it says is 400."""
    answer = await http("POST", f"{calm_ring.gateway_url}/emulation", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "bad_request"


@pytest.mark.parametrize("path", ["/emulation", "/connection/http_stream"])
async def test_large_bodies_are_refused(calm_ring: Ring, path: str) -> None:
    """More than 64 KiB is 413, said or streamed without a length; exactly that is read."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(66):
            yield b"x" * 1000

    for body in (b"x" * 65537, pieces()):
        assert (await http("POST", calm_ring.gateway_url + path, content=body)).status_code == 413
    assert (await http("POST", calm_ring.gateway_url + path, content=b"x" * 65536)).status_code in (200, 400)


async def test_a_slow_body_is_refused(strict_ring: Ring) -> None:
    """A body that does not come within CONNECT_SECONDS is 408."""
    reader, writer = await asyncio.open_connection("127.0.0.1", strict_ring.ports["gateway"])
    writer.write(b"POST /connection/http_stream HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert (await asyncio.wait_for(reader.readline(), SECONDS)).split()[1] == b"408"
    writer.close()
    await writer.wait_closed()


async def test_an_event_source_without_a_command_is_refused(calm_ring: Ring) -> None:
    """The address must hold the connect command, and less than 64 KiB."""
    url = f"{calm_ring.gateway_url}/connection/sse"
    assert (await http("GET", url)).status_code == 400
    reader, writer = await asyncio.open_connection("127.0.0.1", calm_ring.ports["gateway"])
    writer.write(b"GET /connection/sse?cf_connect=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 65537))
    assert (await asyncio.wait_for(reader.readline(), SECONDS)).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/connection/http_stream"), ("GET", "/connection/sse?cf_connect=x"), ("POST", "/emulation")],
)
async def test_pages_of_others_are_refused(calm_ring: Ring, method: str, path: str) -> None:
    """A foreign Origin gets nothing; an allowed one is answered so that the browser lets the page read it."""
    own = f"http://localhost:{calm_ring.ports['gateway']}"
    for origin, allowed in ((own, True), ("http://evil.example", False)):
        answer = await http(method, calm_ring.gateway_url + path, content=b"x", headers={"Origin": origin})
        assert (answer.status_code == 403) is not allowed
        assert answer.headers.get("access-control-allow-origin") == (own if allowed else None)


@pytest.mark.parametrize("path", ["/connection/http_stream", "/emulation"])
async def test_browsers_may_ask_first(calm_ring: Ring, path: str) -> None:
    """The preflight of a page's POST with JSON or Protobuf is granted to allowed origins only."""
    own = f"http://localhost:{calm_ring.ports['gateway']}"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    granted = await http("OPTIONS", calm_ring.gateway_url + path, headers=asked | {"Origin": own})
    assert granted.status_code == 200
    assert granted.headers["access-control-allow-origin"] == own
    assert "POST" in granted.headers["access-control-allow-methods"]
    assert "content-type" in granted.headers["access-control-allow-headers"].lower()
    refused = await http("OPTIONS", calm_ring.gateway_url + path, headers=asked | {"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in refused.headers


async def test_requests_behind_a_stream_are_not_read(calm_ring: Ring) -> None:
    """Who sends more requests on a stream's connection gets no answer to them, and the stream goes on."""
    account = await guest(calm_ring)
    raw = await Raw.open(calm_ring, account)
    raw.writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    made = await raw.line()
    await raw.post({"id": 2, "rpc": {"method": "echo", "data": 1}})
    assert made["connect"]["session"] == raw.session
    assert await raw.line() == {"id": 2, "rpc": {"data": 1}}
    await raw.close()


class Raw:
    """A JSON stream on a socket that reads only when asked."""

    def __init__(self, ring: Ring, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ring, self.reader, self.writer = ring, reader, writer
        self.session = self.node = ""
        self._first: Json = {}

    @classmethod
    async def open(cls, ring: Ring, account: Account) -> Self:
        """Connect, with as small a receive buffer as there is."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", ring.ports["gateway"]))
        made = cls(ring, *await asyncio.open_connection(sock=plain, limit=4096))
        body = json.dumps({"id": 1, "connect": {"token": account.access}}).encode()
        made.writer.write(
            b"POST /connection/http_stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        assert b" 200 " in await made.reader.readline()
        while await made.reader.readline() != b"\r\n":
            pass
        made._first = await made._line()
        made.session, made.node = made._first["connect"]["session"], made._first["connect"]["node"]
        return made

    async def line(self) -> Json:
        """Return the next reply."""
        first, self._first = self._first, {}
        return first or await self._line()

    async def _line(self) -> Json:
        size = int(await asyncio.wait_for(self.reader.readline(), SECONDS), 16)
        chunk = await self.reader.readexactly(size + 2)
        found: Json = json.loads(chunk)
        return found

    async def post(self, command: Json) -> None:
        """Post a command."""
        body = {"node": self.node, "session": self.session, "data": json.dumps(command)}
        answer = await http("POST", f"{self.ring.gateway_url}/emulation", json=body)
        assert answer.status_code == 204

    async def fill(self) -> None:
        """Cause replies that nobody reads, until they wait in the gateway."""
        for number in range(10, 30):
            await self.post({"id": number, "rpc": {"method": "echo", "data": "x" * 50_000}})

    async def close(self) -> None:
        """Leave."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass  # the gateway was faster


# What ends a stream.


async def test_a_client_that_does_not_read_is_given_up(rings: Callable[..., Ring]) -> None:
    """Its stream ends as slow after STALL_SECONDS, and the process is rid of it; others notice nothing."""
    ring = rings(STALL_SECONDS="1").start()
    raw = await Raw.open(ring, await guest(ring))
    other = await Streamed(ring, "lines").open(token=(await guest(ring)).access)
    await raw.fill()

    async def given_up() -> bool:
        return await metric(ring, "parley_disconnects_total", code="3008") == 1

    async def rid_of_it() -> bool:
        return await metric(ring, "parley_connections", transport="http_stream") == 1

    await eventually(given_up, "the client is given up")
    await eventually(rid_of_it, "its connection is aborted")
    assert await metric(ring, "parley_stalls_total") == 1
    assert not other.over
    await other.leave()
    await raw.close()


async def test_overflow_ends_a_stream_at_once(rings: Callable[..., Ring]) -> None:
    """More bytes than OUTBOX_BYTES for a client that does not read end its stream before any deadline."""
    ring = rings(STALL_SECONDS="60", OUTBOX_BYTES="65536", GATEWAY_WORKERS="1").start()
    raw = await Raw.open(ring, await guest(ring))
    for number in range(10, 30):
        body = {"node": raw.node, "session": raw.session}
        frame = json.dumps({"id": number, "rpc": {"method": "echo", "data": "x" * 50_000}})
        await http("POST", f"{ring.gateway_url}/emulation", json=body | {"data": frame})

    async def given_up() -> bool:
        return await metric(ring, "parley_disconnects_total", code="3008") == 1

    await eventually(given_up, "the client is given up")
    await raw.close()


async def test_a_killed_process_is_not_found(rings: Callable[..., Ring], come: Come) -> None:
    """After kill -9 of the process that held a stream, frames for it are 404 at the others, and a new stream works."""
    ring = rings().start()
    found = await on_both_nodes(come, ring)
    processes.kill(ring.worker_pids()[0])
    await eventually(lambda: any(one.over for one in found), "its streams break")
    (broken, *_), (whole, *_) = [one for one in found if one.over], [one for one in found if not one.over]
    for _ in range(4):
        assert (await whole.post(b"{}", node=broken.node, session=broken.session)).status_code == 404
    assert await whole.call("echo", still="here") == {"still": "here"}
    await on_both_nodes(come, ring)  # which finds the process that replaced it


async def test_a_stopping_process_says_so(rings: Callable[..., Ring], come: Come) -> None:
    """SIGTERM ends every stream with 3001 as its last message, and in time, whether its client reads or not."""
    ring = rings(STALL_SECONDS="60").start()
    found = [one for form in FORMS for one in await on_both_nodes(come, ring, form)]
    raw = [await Raw.open(ring, await guest(ring)) for _ in range(4)]
    for one in raw:
        await one.fill()
    old = ring.worker_pids()
    started = asyncio.get_running_loop().time()
    for pid in old:
        processes.kill(pid, signal.SIGTERM)
    for one in found:
        assert await one.end() == (3001, "shutdown")
    await eventually(lambda: not set(old) & {process.pid for process in ring.processes()}, "the processes ended")
    assert asyncio.get_running_loop().time() - started < 10, "ended by a deadline, not by themselves"
    for one in raw:
        await one.close()
    await eventually(lambda: len(ring.worker_pids()) == 2 and not ring.missing("gateway"), "new processes", 30)
    assert await (await come(ring)).call("echo", back="again") == {"back": "again"}


# The official SDK, as pages have it.

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
