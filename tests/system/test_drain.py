"""How a gateway leaves at SIGTERM: unready at once, newcomers let in for a while, then everybody closed one by one."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import count

import pytest
import pytest_asyncio
import websockets

from tests.bench import processes
from tests.bench.balancer import Balancer
from tests.bench.beside import GatewayBeside
from tests.bench.clients import Account, Frames, eventually, guest, http
from tests.bench.metrics import total
from tests.bench.ports import free_port
from tests.bench.ring import Ring
from tests.soak.people import Seat, Sender, Subscriber

MANY = 200
DELAY = 5.0
WINDOW = 6.0
LEAVES = (3001, "shutdown")
Start = Callable[..., GatewayBeside]


@pytest.fixture
def beside(calm_ring: Ring) -> Iterator[Start]:
    """Start one more gateway of the shared ring, with a port of its own for health and metrics."""
    with ExitStack() as stack:

        def start(**settings: str) -> GatewayBeside:
            usual = {"GATEWAY_WORKERS": "1", "GATEWAY_INTERNAL_PORT": str(free_port()), "REBALANCE_PER_SECOND": "0"}
            usual["MAX_USER_CONNECTIONS"] = "0"  # crowds of one account
            gateway = GatewayBeside(calm_ring, f"nats://127.0.0.1:{calm_ring.ports['nats']}", **(usual | settings))
            return stack.enter_context(gateway)

        yield start


@pytest_asyncio.fixture
async def everybody() -> AsyncIterator[AsyncExitStack]:
    """Whoever is entered here leaves with the test."""
    async with AsyncExitStack() as stack:
        yield stack


class Crowd:
    """Many connections of one account, each with the moment and the code of its end."""

    def __init__(self) -> None:
        self.members: list[Frames] = []
        self.ends: list[tuple[float, tuple[int, str]]] = []
        self._watching: list[asyncio.Task[None]] = []

    async def enter(self, gateway: GatewayBeside, account: Account, many: int) -> "Crowd":
        """Let `many` more in, a few at a time."""
        slots = asyncio.Semaphore(20)

        async def one() -> None:
            async with slots:
                member = await Frames.open(gateway)
                await member.enter(account.access)
            self.members.append(member)
            self._watching.append(asyncio.create_task(self._watch(member)))

        await asyncio.gather(*(one() for _ in range(many)))
        return self

    async def _watch(self, member: Frames) -> None:
        code = await member.end(120)
        self.ends.append((asyncio.get_running_loop().time(), code))

    async def all_ended(self, seconds: float) -> list[float]:
        """Return the moments at which they were closed, in order; each has to be asked to connect again."""
        await asyncio.wait_for(asyncio.gather(*self._watching), seconds)
        assert {code for _, code in self.ends} == {LEAVES}
        return sorted(at for at, _ in self.ends)


def is_spread(times: list[float], window: float) -> bool:
    """Tell whether `times` cover most of `window`, and no second has a large share of them."""
    most = max(sum(one <= other < one + 1 for other in times) for one in times)
    return times[-1] - times[0] >= 0.6 * window and most <= 0.4 * len(times)


def stopped(gateway: GatewayBeside) -> bool:
    """Tell whether every process of a gateway came to its own end: one that was killed could not say so."""
    return gateway.log.count('"event": "stopped"') == gateway.log.count('"event": "started"')


async def refusal(gateway: GatewayBeside, path: str = "/connection/websocket") -> websockets.Response | None:
    """Try a handshake; return the answer that refused it, None when it was accepted."""
    try:
        async with websockets.connect(f"ws://127.0.0.1:{gateway.port}{path}", proxy=None):
            return None
    except websockets.InvalidStatus as error:
        return error.response


async def test_it_leaves_gently(beside: Start, calm_ring: Ring, everybody: AsyncExitStack) -> None:
    """Of 200 clients each is closed with 3001 at its own moment; meanwhile commands are answered, metrics scraped."""
    gateway = beside(GATEWAY_DRAIN_DELAY_SECONDS=str(DELAY), GATEWAY_DRAIN_SECONDS=str(WINDOW))
    account = await guest(calm_ring)
    crowd = await Crowd().enter(gateway, account, MANY)
    clock = asyncio.get_running_loop().time
    told = clock()
    gateway.signal(signal.SIGTERM)
    await eventually(lambda: gateway.missing() == {"process": "shutting down"}, "it says that it is not ready", 2)
    assert (await http("GET", f"http://127.0.0.1:{gateway.internal_port}/health/started")).status_code == 200
    assert (await http("GET", f"http://127.0.0.1:{gateway.internal_port}/health/live")).status_code == 200
    assert not crowd.ends
    # Who has not heard of it yet may still send newcomers.
    await crowd.enter(gateway, account, 1)
    assert clock() - told < DELAY, "too slow to try the delay"
    late = crowd.members[-1]
    room = await late.make_room()

    async def sends_until_closed() -> list[int]:
        offsets: list[int] = []
        while not late.closed:
            command = late.numbered(
                rpc={"method": "message.send", "data": {"room": room, "id": f"m{len(offsets)}", "text": "on the way"}}
            )
            try:
                await late.send(command)
            except websockets.ConnectionClosed:
                break
            await eventually(lambda number=command["id"]: number in late.replies or late.closed, "an answer", 3)
            if command["id"] in late.replies:
                offsets.append(late.replies[command["id"]]["rpc"]["data"]["offset"])
        return offsets

    sending = asyncio.create_task(sends_until_closed())
    await eventually(lambda: refusal(gateway), "newcomers are refused", DELAY + 2, 0.1)
    refused = await refusal(gateway)
    assert (refused.status_code, refused.headers["Retry-After"], refused.headers["Connection"]) == (503, "1", "close")
    for method, path in (("POST", "/connection/http_stream"), ("GET", "/connection/sse?cf_connect={}")):
        answer = await http(method, f"http://127.0.0.1:{gateway.port}{path}")
        assert (answer.status_code, answer.headers["Retry-After"], answer.json()["code"]) == (503, "1", "shutting_down")
    page = await asyncio.to_thread(gateway.metrics)
    assert total(page, "parley_draining") == 1
    assert 0 < total(page, "parley_drain_remaining") <= MANY + 1
    times = await crowd.all_ended(DELAY + WINDOW + 5)
    assert times[0] - told >= DELAY
    assert is_spread(times, WINDOW), [round(one - told, 2) for one in times]
    offsets = await sending
    assert len(offsets) >= 3
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    await eventually(lambda: gateway.exit_code is not None, "the process ends", 10)
    assert gateway.exit_code == 0
    assert '"event": "drained"' in gateway.log
    assert stopped(gateway)


async def test_nobody_loses_anything(beside: Start, calm_ring: Ring, everybody: AsyncExitStack) -> None:
    """Behind a load balancer all go to the other gateway and recover there: each message once, in order, for each."""
    leaving = beside(GATEWAY_DRAIN_DELAY_SECONDS="1", GATEWAY_DRAIN_SECONDS="3")
    staying = beside()
    balancer = await everybody.enter_async_context(Balancer(leaving))
    readers: list[Subscriber] = []
    senders: list[Sender] = []
    for kind, found, many in ((Subscriber, readers, 20), (Sender, senders, 3)):
        for number in range(many):
            one = await kind.enter(calm_ring, balancer.websocket_url, f"{kind.__name__} {number}", number % 2 > 0)
            everybody.push_async_callback(one.leave)
            found.append(one)
    room = (await senders[0].call("room.create", name="A room"))["room"]["id"]
    for one in [*readers, *senders[1:]]:
        await one.call("room.join", room=room)
    seats: list[Seat] = [await one.sit(f"room:{room}") for one in readers]
    balancer.gateways.append(staying)
    over = asyncio.Event()
    numbers = count()
    acknowledged = []

    async def send(sender: Sender) -> None:
        while not over.is_set():
            acknowledged.append(await sender.say(room, f"key{next(numbers)}"))

    sending = [asyncio.create_task(send(one)) for one in senders]
    await eventually(lambda: len(acknowledged) >= 20, "messages flow")
    leaving.signal(signal.SIGTERM)
    await eventually(lambda: leaving.exit_code is not None, "the gateway has left", 20)
    had = len(acknowledged)
    await eventually(lambda: len(acknowledged) >= had + 20, "messages flow on")
    over.set()
    await asyncio.gather(*sending)
    everything = list(range(1, len(acknowledged) + 1))
    await eventually(lambda: all(len(seat.numbers) >= len(everything) for seat in seats), "all messages have come")
    for seat in seats:
        assert seat.numbers == everything
        assert (seat.missed, seat.repeated, seat.problems, seat.owner.endings) == (0, 0, [], [])
        assert seat.recoveries >= 1
    assert balancer.connections(staying) == len(readers) + len(senders)
    assert stopped(leaving)


async def test_it_ends_as_soon_as_nobody_is_left(beside: Start, calm_ring: Ring) -> None:
    """The window is the most it takes: without connections, or when all have left, the process ends."""
    nobody, somebody = beside(GATEWAY_DRAIN_SECONDS="300"), beside(GATEWAY_DRAIN_SECONDS="300")
    crowd = await Crowd().enter(somebody, await guest(calm_ring), 3)
    for one in (nobody, somebody):
        one.signal(signal.SIGTERM)
    await eventually(lambda: nobody.exit_code == 0, "the one without connections ends", 10)
    await eventually(lambda: refusal(somebody), "the other one drains", 5)
    for member in crowd.members:
        await member.close()
    await eventually(lambda: somebody.exit_code == 0, "the other one ends", 10)


async def test_a_second_sigterm_changes_nothing(beside: Start, calm_ring: Ring) -> None:
    """Whoever repeats SIGTERM, to the main process or to the worker, gets no burst, and no process that stays."""
    gateway = beside(GATEWAY_DRAIN_SECONDS="3")
    crowd = await Crowd().enter(gateway, await guest(calm_ring), 60)
    (worker,) = gateway.worker_pids()
    gateway.signal(signal.SIGTERM)
    await eventually(lambda: crowd.ends, "the first is closed", 5)
    gateway.signal(signal.SIGTERM)
    processes.kill(worker, signal.SIGTERM)
    assert is_spread(await crowd.all_ended(10), 3)
    await eventually(lambda: gateway.exit_code == 0, "the process ends", 10)
    assert stopped(gateway)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
@pytest.mark.parametrize("drains", [True, False], ids=["while it drains", "at any time"])
async def test_who_is_in_a_hurry_need_not_kill(
    beside: Start, calm_ring: Ring, number: signal.Signals, drains: bool
) -> None:
    """SIGINT or SIGQUIT ends a gateway within seconds, with a word to every client, in the middle of a drain too."""
    gateway = beside(GATEWAY_DRAIN_SECONDS="300")
    crowd = await Crowd().enter(gateway, await guest(calm_ring), 20)
    if drains:
        gateway.signal(signal.SIGTERM)
        await eventually(lambda: refusal(gateway), "it drains", 5)
    gateway.signal(number)
    await crowd.all_ended(5)
    await eventually(lambda: gateway.exit_code == 0, "the process ends", 5)
    assert stopped(gateway)


async def test_a_worker_alone_leaves_gently_too(beside: Start, calm_ring: Ring) -> None:
    """SIGTERM to one of two workers closes its clients alone, spread out, and another worker takes its place."""
    gateway = beside(GATEWAY_WORKERS="2", GATEWAY_DRAIN_SECONDS="2")
    account = await guest(calm_ring)
    nodes: dict[str, list[Frames]] = {}
    while len(nodes) < 2 or min(map(len, nodes.values())) < 10:
        one = await Frames.open(gateway)
        reply = await one.ask(connect={"token": account.access})
        if reply.get("error", {}).get("temporary"):  # this worker has not reached NATS yet
            await one.close()
            continue
        nodes.setdefault(reply["connect"]["node"], []).append(one)
    workers = gateway.worker_pids()
    processes.kill(workers[0], signal.SIGTERM)
    await eventually(lambda: any(all(one.closed for one in ones) for ones in nodes.values()), "its clients go", 10)
    (left,) = [ones for ones in nodes.values() if all(one.closed for one in ones)]
    (others,) = [ones for ones in nodes.values() if ones is not left]
    assert {await one.end() for one in left} == {LEAVES}
    assert not any(one.closed for one in others)
    await eventually(lambda: len(set(gateway.worker_pids()) - {workers[0]}) == 2, "another worker takes its place", 15)
    await eventually(lambda: gateway.ready, "all is ready", 15)
    for one in others:
        await one.close()
