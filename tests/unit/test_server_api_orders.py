"""The server API's orders: they reach every gateway process, and each tells of itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chassis.bus import Bus, Message, Unavailable
from chassis.lifecycle import Background
from chassis.streams import Record
from gateway.control import Control, EndConnections, EndSubscriptions, Whose, disconnect_code
from gateway.hub import Follower, Hub
from gateway.metrics import ending
from gateway.outbox import Outbox
from gateway.postman import Postman
from gateway.settings import GatewaySettings
from gateway.wire import Wire
from protocol import codes, subjects
from protocol.client_json import JSON
from protocol.codes import DisconnectCode, UnsubscribeCode

SETTINGS = GatewaySettings(api_gather_seconds=0.3)


class Somebody:
    """A connection that remembers how it ended."""

    def __init__(self, client: str, user: str) -> None:
        self.client = client
        self.user = user
        self.ended: list[tuple[int, str]] = []
        self.unsubscribed: list[tuple[str, int]] = []
        self.codec = JSON
        self.outbox = Outbox(
            cast(Follower, self), cast(Wire, SimpleNamespace(framing=lambda codec: codec)), Postman(), 1
        )

    def end(self, code: DisconnectCode) -> None:
        """End."""
        self.ended.append((code.code, code.reason))

    def unsubscribe(self, channel: str, code: UnsubscribeCode) -> None:
        """Lose a subscription."""
        self.unsubscribed.append((channel, code.code))


class Air:
    """Carries what any process says to all that listen; keeps the leases of `alive`."""

    connected = True

    def __init__(self) -> None:
        self.listening: list[tuple[str, Callable[[Message], None]]] = []
        self.alive: list[str] | None = []

    async def subscribe(self, subject: str, receive: Callable[[Message], None]) -> None:
        """Listen."""
        self.listening.append((subject, receive))

    async def flush(self) -> None:
        """Nothing waits here."""

    def send(self, subject: str, body: bytes) -> None:
        """Say."""
        for heard, receive in list(self.listening):
            if heard == subject:
                receive(Message(subject, {}, body))


class Process:
    """One gateway process with connections: (client, user, session)."""

    def __init__(self, node: str, air: Air, background: Background, *connections: tuple[str, str, str]) -> None:
        self.hub = Hub(Postman(), 0.0)
        self.control = Control(node, cast(Bus, air), self.hub, background, SETTINGS)
        self.connections = {client: Somebody(client, user) for client, user, _ in connections}
        for client, _, session in connections:
            self.hub.enter(cast(Follower, self.connections[client]), session)

        async def leases(_: str) -> AsyncIterator[Record]:
            if air.alive is None:
                raise Unavailable("no stream")
            for alive in air.alive:
                yield Record(1, subjects.lease(alive), {}, b"")

        self.control._leases = cast(Any, SimpleNamespace(read_all=leases))

    @property
    def gone(self) -> set[str]:
        """The clients that were ended."""
        return {client for client, one in self.connections.items() if one.ended}


@pytest.fixture
async def processes() -> AsyncIterator[tuple[Process, Process, Air]]:
    """Two processes that hear each other."""
    air = Air()
    async with Background() as background:
        one = Process("one", air, background, ("a1", "ann", "s1"), ("a2", "ann", "s2"), ("b1", "bob", "s3"))
        two = Process("two", air, background, ("a3", "ann", "s1"), ("x1", "", ""), ("x2", "", ""))
        for process in (one, two):
            await process.control.listen()
            process.hub.add("news:a", cast(Follower, next(iter(process.connections.values()))))
        air.alive = ["one", "two"]
        yield one, two, air


@pytest.mark.parametrize(
    ("whose", "gone"),
    [
        (Whose("ann"), {"a1", "a2", "a3"}),
        (Whose("ann", keep=("a2", "b1")), {"a1", "a3"}),
        (Whose("ann", client="a3"), {"a3"}),
        (Whose("ann", client="b1"), set()),
        (Whose("ann", session="s1"), {"a1", "a3"}),
        (Whose("bob", session="s1"), set()),
        (Whose("ann", client="a1", session="s2"), {"a1"}),
        (Whose("nobody"), set()),
        (Whose("", client="x1"), {"x1"}),
    ],
)
async def test_orders_reach_every_process_and_only_those_meant(
    processes: tuple[Process, Process, Air], whose: Whose, gone: set[str]
) -> None:
    """Connections and subscriptions end wherever they are; a client or session of another user is left alone."""
    one, two, _ = processes
    await one.control.order(EndConnections(whose, 4500, "bye"))
    await two.control.order(EndSubscriptions(whose, "news:a"))
    assert one.gone | two.gone == gone
    for somebody in (one.connections | two.connections).values():
        assert somebody.ended in ([], [(4500, "bye")])
        assert somebody.unsubscribed == ([("news:a", 2000)] if somebody.client in gone else [])


async def test_what_is_no_order_is_ignored(processes: tuple[Process, Process, Air]) -> None:
    """Bytes that are not understood do nothing, and what comes after them is heard."""
    one, two, air = processes
    asked = [subject for subject, _ in air.listening if subject != subjects.GATEWAY_CONTROL]
    for body in (b"", b"\xff", b"[]", b'{"type": "other"}', b'{"type": "disconnect"}'):
        for subject in (subjects.GATEWAY_CONTROL, *asked):
            air.send(subject, body)
    await one.control.order(EndConnections(Whose("bob"), 3503, "force disconnect"))
    assert one.gone | two.gone == {"b1"}


async def test_every_process_tells_of_itself(processes: tuple[Process, Process, Air]) -> None:
    """Whoever asks gets one answer of each, with its own counts, as soon as the last one has come."""
    one, two, _ = processes
    for asking in (one, two):
        async with asyncio.timeout(0.2):
            nodes = await asking.control.nodes()
        assert [(node.uid, node.num_clients, node.num_users) for node in nodes] == [("one", 3, 2), ("two", 3, 2)]
        assert [(node.num_channels, node.num_subs) for node in nodes] == [(1, 1), (1, 1)]
        assert len({node.name for node in nodes}) == 1  # host and process id: here both are this test
    assert one.control._asked == {}


@pytest.mark.parametrize("alive", [["one", "two", "killed"], None], ids=["killed", "unknown"])
async def test_who_does_not_answer_is_not_waited_for(
    processes: tuple[Process, Process, Air], alive: list[str] | None
) -> None:
    """At the deadline those are told that answered, also when nobody knows how many there should be."""
    one, _, air = processes
    air.alive = alive
    async with asyncio.timeout(2):
        assert [node.uid for node in await one.control.nodes()] == ["one", "two"]


async def test_a_process_is_ready_once_it_hears(processes: tuple[Process, Process, Air]) -> None:
    """Before it listens, a process says that it is not ready."""
    _, _, air = processes
    async with Background() as background:
        third = Process("three", air, background)
        assert await third.control.ready() is not None
        await third.control.listen()
        assert await third.control.ready() is None


def test_made_up_endings_do_not_become_labels() -> None:
    """Metrics count the catalogue's codes and causes; a caller's own code and reason count as custom."""
    assert ending(disconnect_code(4777, "a reason of somebody's own"), 4777) == ("custom", "custom")
    assert ending(disconnect_code(3503, "a reason of somebody's own"), 3503) == ("3503", "force_disconnect")
    assert ending(codes.SLOW, 3008) == ("3008", "slow")
    assert ending(None, 1006) == ("1006", "network")
    assert ending(None, 4321) == ("other", "client")
