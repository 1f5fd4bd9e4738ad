"""Endings of HTTP streams: clients that do not read, processes that stop or are killed."""

import asyncio
import json
import signal
from collections.abc import Callable

from tests.bench import processes
from tests.bench.clients import eventually, guest, http
from tests.bench.metrics import metric
from tests.bench.raw_stream import Raw
from tests.bench.ring import Ring
from tests.bench.streamed import FORMS, Streamed
from tests.system.conftest import Come


async def on_both_nodes(come: Come, ring: Ring, form: str = "lines") -> list[Streamed]:
    """Return connected clients, of which each process of the gateway holds one at least."""
    found = [await come(ring, form)]
    while len({one.node for one in found}) < 2:
        assert len(found) < 100, "every connection reaches one process"
        found.append(await come(ring, form))
    return found


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

    def ready() -> bool:
        """Tell whether both new processes are: either may answer, so ask until both have."""
        return len(ring.worker_pids()) == 2 and not any(ring.missing("gateway") for _ in range(16))

    await eventually(ready, "new processes", 30)
    assert await (await come(ring)).call("echo", back="again") == {"back": "again"}
