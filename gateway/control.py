"""What the server API has every gateway process do: end connections and subscriptions, and tell of itself.

One core NATS subject that all processes hear, the asking one included. Best effort: what a process does not hear, since
NATS was away, it does not do; the caller may repeat, since every order can be carried out any number of times. Nothing
here waits without a deadline.
"""

import asyncio
import os
import platform
import time

import msgspec

from chassis import logs
from chassis.app import VERSION
from chassis.bus import Bus, Message, Unavailable
from chassis.lifecycle import Background
from chassis.streams import Stream
from gateway import metrics
from gateway.connection import Connection
from gateway.hub import Follower, Hub
from gateway.settings import GatewaySettings
from protocol import codes, subjects
from protocol.codes import DisconnectCode
from protocol.names import new_id

log = logs.get(__name__)

RETRY_SECONDS = 0.25
MOST_NODES = 4096
"""Most processes whose answers are taken."""
MOST_TOLD = 1000
"""Most connections of a user that one process tells of, the oldest first: more would not fit into a message."""
MOST_ANSWERING = 64
"""Questions that one process answers at once; more go unanswered."""


class Whose(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which connections are meant: those of `user`, or among them only one client, or one session.

    `session` is what the connect reply called so, or the sign-in session of an account. `keep`: clients not meant.
    """

    user: str
    client: str = ""
    session: str = ""
    keep: tuple[str, ...] = ()


class EndConnections(msgspec.Struct, frozen=True, tag="disconnect"):
    """End connections with a close code from 3000 to 4999."""

    whose: Whose
    code: int
    reason: str


class EndSubscriptions(msgspec.Struct, frozen=True, tag="unsubscribe"):
    """End subscriptions to a channel, so that SDKs do not subscribe again."""

    whose: Whose
    channel: str


class TellOfYourself(msgspec.Struct, frozen=True, tag="tell"):
    """Send a `Node` to `asker`, marked with `question`, and with it the connections of `user` if one is named."""

    asker: str
    question: str
    user: str = ""


Order = EndConnections | EndSubscriptions | TellOfYourself


class Node(msgspec.Struct, frozen=True):
    """One gateway process as it counts itself; `uptime` in seconds."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: int


class Told(msgspec.Struct, frozen=True):
    """The answer of one process to a question."""

    question: str
    node: Node
    connections: tuple[tuple[float, str], ...] = ()
    """Age in seconds and client id of each connection of the user asked for."""


_orders = msgspec.json.Decoder(Order)
_told = msgspec.json.Decoder(Told)


class Control:
    """This process's ear for orders, and its voice to give them."""

    def __init__(self, node: str, bus: Bus, hub: Hub, background: Background, settings: GatewaySettings) -> None:
        self._node = node
        self._bus = bus
        self._hub = hub
        self._background = background
        self._settings = settings
        self._leases = Stream(bus, subjects.PRESENCE_STREAM)
        self._asker = new_id()
        self._asked: dict[str, tuple[dict[str, Told], asyncio.Event]] = {}
        self._answering = 0
        self._started = time.monotonic()
        self._listening = False

    async def ready(self) -> str | None:
        """Health check: None when orders are heard."""
        return None if self._listening else "not listening to the server API yet"

    async def listen(self) -> None:
        """Begin to hear orders and answers, as soon as NATS can be reached; nats-py renews that after a reconnect."""
        while not self._listening:
            try:
                await self._bus.subscribe(subjects.gateway_answers(self._asker), self._answered)
                await self._bus.subscribe(subjects.GATEWAY_CONTROL, self._ordered)
                await self._bus.flush()
                self._listening = True
            except Unavailable as error:
                log.debug("not listening to orders yet", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def order(self, order: EndConnections | EndSubscriptions) -> None:
        """Have every process carry out `order`, this one too. Raises `Unavailable`, or `TooLarge`."""
        self._bus.send(subjects.GATEWAY_CONTROL, msgspec.json.encode(order))

    async def nodes(self) -> list[Node]:
        """Return every process that tells of itself within `api_gather_seconds`; raise `Unavailable`."""
        return sorted((told.node for told in await self._ask()), key=lambda node: node.uid)

    async def connections_of(self, user: str) -> list[tuple[float, str]]:
        """Return age in seconds and client id of each connection of `user`, in all processes; raise `Unavailable`."""
        return [connection for told in await self._ask(user) for connection in told.connections]

    async def end_client(self, user: str, client: str, code: DisconnectCode) -> None:
        """End one connection of `user`, wherever it is; raise `Unavailable`."""
        await self.order(EndConnections(Whose(user, client), code.code, code.reason))

    async def _ask(self, user: str = "") -> list[Told]:
        """Return what the processes tell within `api_gather_seconds`; raise `Unavailable`.

        Done when all have answered that hold a lease; one that was killed keeps its lease for `lease_seconds`, and is
        waited for meanwhile.
        """
        question = new_id()
        found: dict[str, Told] = {}
        changed = asyncio.Event()
        self._asked[question] = (found, changed)
        try:
            async with asyncio.timeout(self._settings.api_gather_seconds):
                expected = await self._expected()
                ask = TellOfYourself(self._asker, question, user)
                self._bus.send(subjects.GATEWAY_CONTROL, msgspec.json.encode(ask))
                while expected is None or not expected <= found.keys():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            log.info("not every gateway answered", answered=len(found))
        finally:
            del self._asked[question]
        return list(found.values())

    async def _expected(self) -> set[str] | None:
        """Return the processes that hold a lease; None when that cannot be told."""
        try:
            records = [one async for one in self._leases.read_all(subjects.PRESENCE_LEASES)]
        except Unavailable:
            return None
        held = {one.subject.rpartition(".")[2] for one in records if subjects.GONE not in one.headers}
        return held | {self._node}

    def _answered(self, message: Message) -> None:
        try:
            told = _told.decode(message.body)
        except msgspec.DecodeError:
            log.warning("answer of a gateway not understood")
            return
        found, changed = self._asked.get(told.question, (None, None))
        if found is not None and changed is not None and len(found) < MOST_NODES:
            found[told.node.uid] = told
            changed.set()

    def _ordered(self, message: Message) -> None:
        try:
            order = _orders.decode(message.body)
        except msgspec.DecodeError:
            log.warning("order not understood")
            return
        metrics.orders.labels(type(order).__struct_config__.tag).inc()
        if isinstance(order, EndConnections):
            code = disconnect_code(order.code, order.reason)
            for follower in self._meant(order.whose):
                follower.end(code)
        elif isinstance(order, EndSubscriptions):
            for follower in self._meant(order.whose):
                follower.unsubscribe(order.channel, codes.UNSUBSCRIBED_BY_SERVER)
        elif self._answering < MOST_ANSWERING:
            self._answering += 1
            self._background.spawn(self._tell(order))

    def _meant(self, whose: Whose) -> list[Follower]:
        """Return the connections here that are meant; always of that very user, whatever else is said."""
        if whose.client:
            one = self._hub.of_client(whose.client)
            found = [one] if one is not None else []
        elif whose.session:
            found = self._hub.of_session(whose.session) or [
                one
                for one in self._hub.of_user(whose.user)
                if isinstance(one, Connection) and one.secret == whose.session
            ]
        else:
            found = self._hub.of_user(whose.user)
        return [one for one in found if one.user == whose.user and one.client not in whose.keep]

    async def _tell(self, order: TellOfYourself) -> None:
        try:
            told = Told(order.question, self._myself(), self._connections(order.user))
            self._bus.send(subjects.gateway_answers(order.asker), msgspec.json.encode(told))
        except Unavailable as error:
            log.debug("answer not sent", reason=str(error))
        finally:
            self._answering -= 1

    def _connections(self, user: str) -> tuple[tuple[float, str], ...]:
        """Return age and client id of the connections of `user` here; none when no user is named."""
        found = ((one.age, one.client) for one in self._hub.of_user(user) if one.open)
        return tuple(sorted(found, reverse=True)[:MOST_TOLD]) if user else ()

    def _myself(self) -> Node:
        channels = self._hub.channels()
        return Node(
            uid=self._node,
            name=f"{platform.node()}_{os.getpid()}",
            version=VERSION,
            num_clients=len(self._hub),
            num_users=self._hub.users,
            num_channels=len(channels),
            num_subs=sum(channels.values()),
            uptime=int(time.monotonic() - self._started),
        )


def disconnect_code(code: int, reason: str) -> DisconnectCode:
    """Return the ending with that code, with `reason` in place of the catalogue's if there is one."""
    known = codes.DISCONNECTS.get(code)
    return DisconnectCode(code, reason or (known or codes.FORCE_DISCONNECT).reason, "the server API asked for it")
