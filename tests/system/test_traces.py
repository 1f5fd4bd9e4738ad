"""Traces of a running system, as a collector receives them; and the same system when there is no collector."""

import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.bench.clients import Account, Frames, eventually, guest, http, new_message_id
from tests.bench.collector import Collector
from tests.bench.metrics import metric
from tests.bench.ports import free_port
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
TEXT = "nobody else reads this"
NAME = "Annemarie"
PARTS = ("gateway", "chat", "auth")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector that lives as long as the ring that exports to it."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def ring(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A ring with two gateway processes that traces everything."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "GATEWAY_WORKERS": "2"}
    ring = Ring(tmp_path_factory.mktemp("traced") / "data", settings)
    try:
        yield ring.start()
    finally:
        ring.end()


async def on_each_process(ring: Ring, frames: Open) -> tuple[list[Frames], list[Account]]:
    """Return a connected guest on each of the two gateway processes."""
    found: dict[str, tuple[Frames, Account]] = {}
    for _ in range(64):
        account = await guest(ring, NAME)
        one = await frames(ring)
        found.setdefault((await one.enter(account.access))["node"], (one, account))
        if len(found) == 2:
            return [one for one, _ in found.values()], [account for _, account in found.values()]
    raise AssertionError("all connections went to one process")


async def test_one_message_is_one_trace(ring: Ring, collector: Collector, frames: Open) -> None:
    """From the sender's command over the chat service and the log to the sockets of both gateway processes."""
    (ann, bob), _ = await on_each_process(ring, frames)
    room = await ann.make_room()
    await ann.follow(room)
    await bob.follow(room)
    await ann.say(room, TEXT)
    await bob.until(lambda: bob.texts(room) == [TEXT], "the message")

    [served] = collector.wait_for("message.send")
    await eventually(lambda: len(collector.of_trace(served.trace)) >= 6, "the whole trace")
    spans = {span.id: span for span in collector.of_trace(served.trace)}
    assert len(spans) == 6, spans
    asked = spans[served.parent]
    command = spans[asked.parent]
    [append] = [span for span in spans.values() if span.name == "append ROOMS"]
    fan_outs = [span for span in spans.values() if span.name == "fan out"]

    assert (command.name, command.kind, command.parent) == ("rpc", SERVER, b"")
    assert command.about.keys() == {"parley.client", "parley.result"}
    assert command.about["parley.result"] == "0"
    assert (asked.name, asked.kind, asked.service) == ("chat.message.send", CLIENT, command.service)
    assert asked.process == command.process
    assert (served.service, served.kind) == ("parley-chat", SERVER)
    assert served.about == {"parley.room": room, "parley.result": "ok"}
    assert (append.service, append.kind, append.parent) == ("parley-chat", PRODUCER, served.id)
    assert {span.parent for span in fan_outs} == {append.id}
    assert {(span.service, span.kind) for span in fan_outs} == {("parley-gateway", CONSUMER)}
    assert len({span.process for span in fan_outs}) == 2, "one of each gateway process"
    assert all(
        span.about == {"parley.namespace": "room", "parley.room": room, "parley.followers": 1} for span in fan_outs
    )
    assert not any(span.failed for span in spans.values())
    assert all(0 <= inner.seconds <= outer.seconds for inner, outer in ((asked, command), (served, asked)))


async def test_http_requests_of_the_auth_service_are_traced(ring: Ring, collector: Collector) -> None:
    """Each by its route, with the request id of its log line; what the client says of a trace of its own is nothing."""
    outside = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    answer = await http(
        "POST", f"{ring.auth_url}/guest?ticket=abc", json={"name": NAME}, headers={"traceparent": outside}
    )
    request = answer.headers["x-request-id"]

    def arrived() -> list[object]:
        return [one for one in collector.spans if one.about.get("parley.request") == request]

    await eventually(arrived, "the span of the request")
    [span] = arrived()
    assert (span.service, span.name, span.kind, span.parent) == ("parley-auth", "POST /auth/guest", SERVER, b"")  # type: ignore[attr-defined]
    assert span.trace.hex() != "ab" * 16  # type: ignore[attr-defined]
    assert span.about == {  # type: ignore[attr-defined]
        "http.request.method": "POST",
        "http.route": "/auth/guest",
        "http.response.status_code": 200,
        "parley.request": request,
    }
    assert not [one for one in collector.spans if "/health" in one.name or "/metrics" in one.name]


async def test_refusals_show_in_the_trace(ring: Ring, collector: Collector, frames: Open) -> None:
    """A command that the chat service refuses has its code on both sides."""
    [ann, _], _ = await on_each_process(ring, frames)
    nowhere = "nosuchroom7"
    code = await ann.refusal(rpc={"method": "room.leave", "data": {"room": nowhere}})

    [served] = collector.wait_for("room.leave")
    await eventually(lambda: len(collector.of_trace(served.trace)) == 3, "the whole trace")
    command = next(one for one in collector.of_trace(served.trace) if one.parent == b"")
    assert served.about["parley.result"] == command.about["parley.result"] == str(code)


async def test_traces_tell_no_secret(ring: Ring, collector: Collector, frames: Open) -> None:
    """No text, name, token, user id or message id ever leaves for the collector."""
    (ann, bob), accounts = await on_each_process(ring, frames)
    await bob.follow()
    await ann.follow()
    identifier = new_message_id()
    before = len(collector.named("message.send"))
    await ann.call("message.send", room="general", id=identifier, text=TEXT)
    await ann.ask(publish={"channel": "room:general", "data": TEXT})
    collector.wait_for("message.send", before + 2)
    await eventually(lambda: "room.join" in {one.name for one in collector.spans}, "spans of the rest")

    secrets = [TEXT, NAME, identifier]
    for account in accounts:
        secrets += [account.id, account.access, account.refresh]
    assert [secret for secret in secrets if secret.encode() in collector.raw] == []


@pytest.mark.parametrize("way", ["refused", "silent"])
async def test_a_collector_that_is_away_costs_spans_alone(rings: Callable[..., Ring], frames: Open, way: str) -> None:
    """Whether nobody listens or nobody answers: messages go on in time, lost spans are counted, and the ring stops."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)  # connections are made by the kernel; nobody ever answers
        port = silent.getsockname()[1] if way == "silent" else free_port()
        ring = rings(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            GATEWAY_WORKERS="1",
        ).start()
        ann = await frames(ring)
        await ann.enter((await guest(ring)).access)
        await ann.follow()
        slowest = 0.0
        for number in range(200):
            started = time.monotonic()
            await ann.say("general", f"message {number}")
            slowest = max(slowest, time.monotonic() - started)
        await ann.until(lambda: len(ann.texts()) == 200, "every message")

        async def lost() -> float:
            return min([await metric(ring, "parley_trace_spans_total", part, result="failed") for part in PARTS])

        await eventually(lost, "lost spans are counted")
        assert slowest < 1.5, "below the deadline of a command"
        assert "Traceback" not in ring.logs(10_000)
        assert "the collector takes no traces" in ring.logs(10_000)
        started = time.monotonic()
        ring.stop()
        assert time.monotonic() - started < 25
