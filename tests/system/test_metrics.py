"""What operators see: the metrics page, live and ready, of a gateway with two workers."""

import re
import signal
from collections.abc import Awaitable, Callable

import pytest
import websockets

from tests.bench import processes
from tests.bench.clients import Frames, eventually, guest, http
from tests.bench.metrics import metrics_page, samples, total
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]

FAMILIES = {
    "parley_api_requests": "counter",
    "parley_authentications": "counter",
    "parley_bad_frames": "counter",
    "parley_build_info": "gauge",
    "parley_bytes_in": "counter",
    "parley_bytes_out": "counter",
    "parley_chat_asked": "counter",
    "parley_channels_followed": "gauge",
    "parley_command_duration_seconds": "histogram",
    "parley_commands": "counter",
    "parley_connection_duration_seconds": "histogram",
    "parley_connections": "gauge",
    "parley_connections_accepted": "counter",
    "parley_connections_limit": "gauge",
    "parley_connections_refused": "counter",
    "parley_connections_to_mean_ratio": "gauge",
    "parley_control_orders": "counter",
    "parley_delivery_stage_seconds": "histogram",
    "parley_disconnects": "counter",
    "parley_drain_closed": "counter",
    "parley_drain_forced": "counter",
    "parley_drain_remaining": "gauge",
    "parley_draining": "gauge",
    "parley_emulated_frames": "counter",
    "parley_event_loop_lag_seconds": "histogram",
    "parley_fanout_duration_seconds": "histogram",
    "parley_frames_out": "counter",
    "parley_gaps": "counter",
    "parley_gc_pause_seconds": "histogram",
    "parley_http_request_duration_seconds": "histogram",
    "parley_http_requests": "counter",
    "parley_key_fetches": "counter",
    "parley_memory_limit_bytes": "gauge",
    "parley_messages_in": "counter",
    "parley_messages_out": "counter",
    "parley_nats_connected": "gauge",
    "parley_nats_errors": "counter",
    "parley_nats_reconnects": "counter",
    "parley_presence_swept": "counter",
    "parley_process_cpu_seconds": "counter",
    "parley_process_max_fds": "gauge",
    "parley_process_open_fds": "gauge",
    "parley_process_resident_memory_bytes": "gauge",
    "parley_process_start_time_seconds": "gauge",
    "parley_processes": "gauge",
    "parley_queue_overflows": "counter",
    "parley_rebalanced": "counter",
    "parley_recovered_publications": "counter",
    "parley_recoveries": "counter",
    "parley_revocation_to_close_seconds": "histogram",
    "parley_stalls": "counter",
    "parley_subscriptions": "gauge",
    "parley_trace_spans": "counter",
}
"""What the gateway's page declares; dashboards and alerts stand on these names."""

LATER = {"parley_api_request_duration_seconds": "histogram"}
"""Declared as well, and on the page once there was a first: these tests use no server API."""

ID = re.compile(r"[a-z2-7]{20}\Z")


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


@pytest.fixture
def entered(ring: Ring, frames: Open) -> Callable[[], Awaitable[tuple[Frames, str]]]:
    """Open connections as new guests: `await entered()` returns one and the worker that holds it."""

    async def come() -> tuple[Frames, str]:
        one = await frames(ring)
        node = (await one.enter((await guest(ring)).access))["node"]
        return one, node

    return come


Entered = Callable[[], Awaitable[tuple[Frames, str]]]


async def on_both(entered: Entered) -> list[Frames]:
    """Return connections, at least one on each worker."""
    found: list[Frames] = []
    nodes: set[str] = set()
    while len(nodes) < 2:
        assert len(found) < 200, "one worker gets every connection"
        one, node = await entered()
        found.append(one)
        nodes.add(node)
    return found


async def test_every_family_is_declared_with_what_a_rise_means(ring: Ring, entered: Entered) -> None:
    """After some traffic the page declares each family, with its type and a sentence; no more and no fewer."""
    one, _ = await entered()
    room = await one.make_room()
    await one.follow(room)
    await one.say(room, "hello")
    await one.ask(unsubscribe={"channel": f"room:{room}"})
    await one.ask(subscribe={"channel": f"room:{room}", "recover": True, "offset": 1, "epoch": ""})
    await one.socket.send("nonsense")
    await one.end()
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"{ring.websocket_url}?ticket=nonsense", proxy=None)

    async def declared() -> dict[str, str]:
        page = await metrics_page(ring)
        found = dict(re.findall(r"^# TYPE (parley_\S+) (\S+)$", page, re.MULTILINE))
        # This text format declares counters with the suffix of their samples.
        return {name.removesuffix("_total"): kind for name, kind in found.items()}

    async def all_there() -> bool:
        return {name: kind for name, kind in (await declared()).items() if name not in LATER} == FAMILIES

    await eventually(all_there, "every family is declared", 5)
    assert (await declared()).items() <= (FAMILIES | LATER).items()
    for name, words in re.findall(r"^# HELP (parley_\S+) (.*)$", await metrics_page(ring), re.MULTILINE):
        assert len(words.split()) >= 5, name
        assert words.endswith("."), name


@pytest.mark.parametrize("part", ["gateway", "auth", "chat"])
async def test_no_label_carries_an_id(ring: Ring, entered: Entered, part: str) -> None:
    """Rooms, users, clients and sessions are without number, so none of their ids is a label."""
    one, _ = await entered()
    room = await one.make_room()
    await one.follow(room)
    await one.say(room, "hello")
    await one.refusal(rpc={"method": "abcdefghijklmnopqrst", "data": {}})
    await one.refusal(subscribe={"channel": "room:abcdefghijklmnopqrst"})
    for path in ("/nothing/abcdefghijklmnopqrst", "/auth/abcdefghijklmnopqrst"):
        await http("GET", f"http://127.0.0.1:{ring.ports[part]}{path}")
    found = samples(await metrics_page(ring, part))
    assert found
    for name, labels, _ in found:
        for label, value in labels.items():
            assert not ID.match(value), (name, label, value)
            assert room not in value
            assert len(value) < 60, (name, label, value)


async def test_connections_are_counted_over_all_workers(ring: Ring, entered: Entered) -> None:
    """Open and accepted connections are sums over the workers, whichever of them answers."""
    before = await metrics_page(ring)
    crowd = await on_both(entered)
    for _ in range(6):  # both workers answer, sooner or later
        page = await metrics_page(ring)
        for name in ("parley_connections", "parley_connections_accepted_total"):
            assert total(page, name) - total(before, name) == len(crowd), name
        assert total(page, "parley_nats_connected") == 1
    for one in crowd:
        await one.close()

    async def all_gone() -> bool:
        return total(await metrics_page(ring), "parley_connections") == total(before, "parley_connections")

    await eventually(all_gone, "no connection is counted as open")


async def test_endings_are_counted_by_code_and_cause(ring: Ring, frames: Open, entered: Entered) -> None:
    """Each way in which a connection ends has its own code and cause."""
    before = await metrics_page(ring)

    async def broken(frame: str | bytes) -> None:
        one, _ = await entered()
        await one.socket.send(frame)
        await one.end()

    await broken("nonsense")
    await broken(b"binary")
    await broken("x" * 70_000)
    polite, _ = await entered()
    await polite.socket.close(1000)
    away, _ = await entered()
    away.socket.transport.abort()
    forger = await frames(ring)
    await forger.send(forger.numbered(connect={"token": "nonsense"}))
    await forger.end()
    expected = {
        ("3501", "bad_request"): 1,
        ("3506", "inappropriate_protocol"): 1,
        ("1009", "too_big"): 1,
        ("1000", "client"): 1,
        ("1006", "network"): 1,
        ("3500", "invalid_token"): 1,
    }

    async def counted() -> bool:
        page = await metrics_page(ring)
        name = "parley_disconnects_total"
        return all(
            total(page, name, code=code, cause=cause) - total(before, name, code=code, cause=cause) == count
            for (code, cause), count in expected.items()
        )

    await eventually(counted, "every ending is counted")
    page = await metrics_page(ring)
    assert total(page, "parley_bad_frames_total") - total(before, "parley_bad_frames_total") == 1
    ended = total(page, "parley_disconnects_total") - total(before, "parley_disconnects_total")
    lasted = total(page, "parley_connection_duration_seconds_count")
    assert lasted - total(before, "parley_connection_duration_seconds_count") == ended


async def test_refusals_before_accept_are_counted_by_reason(ring: Ring) -> None:
    """A handshake that is refused is counted with its reason, and not as accepted."""
    before = await metrics_page(ring)
    for query, headers in (
        ("", {"Origin": "http://evil.example"}),
        ("?ticket=nonsense", {}),
        ("", {"Authorization": "Bearer nonsense"}),
    ):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(ring.websocket_url + query, additional_headers=headers, proxy=None)
    page = await metrics_page(ring)
    for reason in ("foreign_origin", "invalid_ticket", "invalid_token"):
        name = "parley_connections_refused_total"
        assert total(page, name, reason=reason) - total(before, name, reason=reason) == 1
    name = "parley_connections_accepted_total"
    assert total(page, name) == total(before, name)


async def test_traffic_is_counted(ring: Ring, entered: Entered) -> None:
    """Commands by method and result, messages and bytes both ways, fan-out, stages of delivery and recoveries."""
    before = await metrics_page(ring)
    crowd = await on_both(entered)
    room = await crowd[0].make_room()
    for one in crowd:
        await one.follow(room)
    await crowd[0].say(room, *"abcde")
    for one in crowd:
        await one.until(lambda one=one: len(one.texts(room)) == 5, "the messages arrive")
    await crowd[0].refusal(rpc={"method": "nothing", "data": {}})
    await crowd[1].ask(unsubscribe={"channel": f"room:{room}"})
    await crowd[1].ask(subscribe={"channel": f"room:{room}", "recover": True, "offset": 2, "epoch": ""})
    await crowd[1].ask(unsubscribe={"channel": f"room:{room}"})
    await crowd[1].ask(subscribe={"channel": f"room:{room}", "recover": True, "offset": 2, "epoch": "other"})
    page = await metrics_page(ring)

    def grown(name: str, **labels: str) -> float:
        return total(page, name, **labels) - total(before, name, **labels)

    people = len(crowd)
    assert grown("parley_commands_total", method="connect", result="0") == people
    assert grown("parley_commands_total", method="subscribe", result="0") == people + 2
    assert grown("parley_commands_total", method="rpc", result="0") == people + 1 + 5
    assert grown("parley_commands_total", method="rpc", result="104") == 1
    assert grown("parley_commands_total") == grown("parley_command_duration_seconds_count")
    assert grown("parley_subscriptions") == 2 * people  # the room, and each one's own channel
    assert grown("parley_channels_followed") >= 2  # on each worker
    assert grown("parley_messages_in_total") == grown("parley_commands_total")
    assert grown("parley_bytes_in_total") > 50 * grown("parley_messages_in_total")
    assert grown("parley_messages_out_total") >= grown("parley_commands_total") + 5 * people
    assert 0 < grown("parley_frames_out_total") <= grown("parley_messages_out_total")
    assert grown("parley_bytes_out_total") > 50 * grown("parley_messages_out_total")
    assert grown("parley_fanout_duration_seconds_count") >= 2 * 5
    assert grown("parley_delivery_stage_seconds_count", stage="stored") == 5
    assert grown("parley_delivery_stage_seconds_count", stage="fanned_out") >= 2 * 5
    assert grown("parley_recoveries_total", result="recovered") == 1
    assert grown("parley_recoveries_total", result="not_recovered") == 1
    assert grown("parley_recovered_publications_total") >= 5
    assert grown("parley_authentications_total", result="ok") == people


@pytest.mark.parametrize("part", ["gateway", "auth", "chat"])
async def test_live_and_ready(ring: Ring, part: str) -> None:
    """A healthy part is alive and ready, and misses nothing."""
    address = f"http://127.0.0.1:{ring.ports[part]}"
    live, ready = await http("GET", f"{address}/health/live"), await http("GET", f"{address}/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "missing": {}})


async def test_readiness_names_what_is_missing(strict_ring: Ring) -> None:
    """While NATS hangs the gateway is alive but not ready and says why, and its metric falls; then it recovers."""
    pid = strict_ring.pid_of("nats")
    processes.kill(pid, signal.SIGSTOP)
    try:
        # Asked often enough that every worker has answered: they notice at different times.
        await eventually(
            lambda: all("nats" in strict_ring.missing("gateway") for _ in range(16)), "NATS is missed", 15, 0.1
        )
        answer = await http("GET", f"{strict_ring.gateway_url}/health/ready")
        assert answer.status_code == 503
        assert answer.json()["status"] == "not ready"
        assert answer.json()["missing"]["nats"] == "no connection to NATS"
        assert "room_log" in answer.json()["missing"]
        assert (await http("GET", f"{strict_ring.gateway_url}/health/live")).status_code == 200
        assert total(await metrics_page(strict_ring), "parley_nats_connected") == 0
    finally:
        processes.kill(pid, signal.SIGCONT)
    strict_ring.wait_until_ready()

    async def counted() -> bool:
        page = await metrics_page(strict_ring)
        return total(page, "parley_nats_connected") == 1 and total(page, "parley_nats_reconnects_total") >= 1

    await eventually(counted, "the reconnect is counted")
