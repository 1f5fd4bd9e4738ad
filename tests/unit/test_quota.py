"""The bound on connections of one user: who is looked at, who ends, and what it costs those below."""

import asyncio
from dataclasses import dataclass, field

import pytest

from chassis.bus import Unavailable
from chassis.lifecycle import Background
from gateway.hub import Hub
from gateway.postman import Postman
from gateway.quota import Quota
from gateway.settings import GatewaySettings
from protocol import codes
from protocol.client_json import JSON
from protocol.codes import DisconnectCode


class Client:
    """A connection as the hub knows one."""

    codec = JSON

    def __init__(self, user: str, client: str, age: float) -> None:
        self.user = user
        self.client = client
        self.age = age
        self.ended: DisconnectCode | None = None

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None

    def end(self, code: DisconnectCode) -> None:
        """End it."""
        self.ended = code


@dataclass
class Cluster:
    """All processes together, as the bus shows them."""

    elsewhere: list[tuple[float, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    ended: list[tuple[str, str, int]] = field(default_factory=list)
    away: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def connections_of(self, user: str) -> list[tuple[float, str]]:
        """Return those elsewhere."""
        self.asked.append(user)
        self.done.set()
        if self.away:
            raise Unavailable("away")
        return self.elsewhere

    async def end_client(self, user: str, client: str, code: DisconnectCode) -> None:
        """Take note."""
        self.ended.append((user, client, code.code))


def quota(cluster: Cluster, background: Background, most: int, processes: int) -> tuple[Quota, Hub]:
    """Return a quota of `most` among so many processes, and its hub."""
    hub = Hub(Postman(), 0.025)
    return Quota(hub, cluster, background, lambda: processes, GatewaySettings(max_user_connections=most)), hub


def come(made: Quota, hub: Hub, user: str, count: int) -> list[Client]:
    """Have `count` connections of `user` come in, the first the oldest."""
    clients = [Client(user, f"{user}{number}", 1000.0 - number) for number in range(count)]
    for one in clients:
        hub.enter(one, user)  # type: ignore[arg-type]
        made.entered(user)
    return clients


async def test_the_oldest_here_end_without_asking_anybody() -> None:
    """More than all of it in one process: the oldest go at once, NATS or not."""
    async with Background() as background:
        cluster = Cluster(away=True)
        made, hub = quota(cluster, background, 3, 1)
        clients = come(made, hub, "ann", 5)
        assert [one.ended for one in clients] == [codes.TOO_MANY_CONNECTIONS] * 2 + [None] * 3
        assert cluster.asked == []


async def test_who_has_little_here_costs_nothing() -> None:
    """Up to a Pth of the quota nobody is asked."""
    async with Background() as background:
        cluster = Cluster()
        made, hub = quota(cluster, background, 8, 4)
        come(made, hub, "ann", 2)
        await asyncio.sleep(0)
        assert cluster.asked == []


async def test_the_oldest_of_all_processes_end() -> None:
    """Above that all are counted, and the oldest of all end, wherever they are."""
    async with Background() as background:
        cluster = Cluster([(9.0, "c9"), (2.0, "c2"), (7.0, "c7"), (1.0, "c1")])
        made, hub = quota(cluster, background, 2, 2)
        come(made, hub, "ann", 2)
        await asyncio.wait_for(cluster.done.wait(), 5)
        await asyncio.sleep(0)
        assert cluster.ended == [("ann", "c9", 4502), ("ann", "c7", 4502)]


@pytest.mark.parametrize(("user", "most"), [("", 2), ("ann", 0)], ids=["nobody in particular", "no limit"])
async def test_who_is_not_counted(user: str, most: int) -> None:
    """Anonymous clients are not one user, and an operator may leave the number open."""
    async with Background() as background:
        cluster = Cluster()
        made, hub = quota(cluster, background, most, 1)
        clients = come(made, hub, user, 10)
        assert [one.ended for one in clients] == [None] * 10
        assert cluster.asked == []


async def test_while_the_bus_is_away_nobody_ends() -> None:
    """What cannot be counted is not guessed."""
    async with Background() as background:
        cluster = Cluster([(9.0, "c9")] * 9, away=True)
        made, hub = quota(cluster, background, 4, 4)
        clients = come(made, hub, "ann", 3)
        await asyncio.wait_for(cluster.done.wait(), 5)
        await asyncio.sleep(0)
        assert [one.ended for one in clients] == [None] * 3
        assert cluster.ended == []
