"""The rules of one client: what is let through, what is refused, what ends the connection."""

import pytest

from gateway.identity import Identity
from gateway.namespaces import Namespaces
from gateway.session import End, Expired, Perform, Phase, Ping, Refuse, Session, is_pong, request_name
from gateway.settings import GatewaySettings
from protocol import codes
from protocol.client import (
    Command,
    ConnectRequest,
    HistoryRequest,
    PingRequest,
    PresenceRequest,
    PublishRequest,
    RPCRequest,
    SendRequest,
    SubRefreshRequest,
    SubscribeRequest,
    Unreadable,
    UnsubscribeRequest,
)

ANN = Identity("ann", "Ann", "s1", 2_000_000_000)
SETTINGS = GatewaySettings()
NAMESPACES = Namespaces.from_text(
    """
    [namespace.news]
    history_size = 10
    subscribe = "anyone"
    history = "anyone"
    [namespace.quiet]
    subscribe = "anyone"
    """,
    "test.toml",
    SETTINGS.history_limit,
)


@pytest.fixture
def session() -> Session:
    """A session before connect, on a clock that starts at 0."""
    return Session(SETTINGS, NAMESPACES, connect_by=10, ping_offset=15)


@pytest.fixture
def ready(session: Session) -> Session:
    """A session after connect, with a token that ends at 600."""
    session.connected(ANN, 0, 600)
    return session


def subscribe(channel: str) -> Command:
    """A subscribe command."""
    return Command(id=2, subscribe=SubscribeRequest(channel=channel))


@pytest.mark.parametrize(
    "command",
    [Command(id=1, rpc=RPCRequest("echo")), subscribe("room:a"), Command(id=1, send=SendRequest()), Command(rpc=None)],
)
def test_anything_before_connect_is_a_bad_request(session: Session, command: Command) -> None:
    """The first command must be connect."""
    decision = session.receive(command, request_name(command))
    assert decision == End(codes.DISCONNECT_BAD_REQUEST)


def test_connect_is_performed_once(session: Session) -> None:
    """A second connect breaks the protocol."""
    connect = Command(id=1, connect=ConnectRequest(token="t"))
    assert session.receive(connect, "connect") == Perform("connect")
    session.connected(ANN, 0, 600)
    assert session.receive(connect, "connect") == End(codes.DISCONNECT_BAD_REQUEST)


def test_who_waited_for_its_turn_has_its_time_anew(session: Session) -> None:
    """A connect command may wait where thousands connect: the client is stale only when what follows takes too long."""
    session.heard(30)
    assert session.tick(30) is None
    assert session.next_tick() == 30 + SETTINGS.connect_seconds
    assert session.tick(30 + SETTINGS.connect_seconds) == End(codes.STALE)


def test_after_a_refused_connect_nothing_is_accepted(session: Session) -> None:
    """An error reply to connect leaves the connection unusable, and its timer ends it as stale."""
    session.refused()
    assert session.receive(Command(id=2, rpc=RPCRequest("echo")), "rpc") == End(codes.STALE)
    assert session.phase is Phase.REFUSED
    assert session.tick(10) == End(codes.STALE)


@pytest.mark.parametrize(
    ("command", "decision"),
    [
        (Command(id=3), Refuse(codes.METHOD_NOT_FOUND)),
        (Unreadable(id=3), Refuse(codes.BAD_REQUEST, "a text in it is not Unicode")),
        (Command(id=3, ping=PingRequest()), Refuse(codes.NOT_AVAILABLE)),
        (Command(id=3, sub_refresh=SubRefreshRequest("room:a", "t")), Refuse(codes.PERMISSION_DENIED)),
        (Command(id=3, sub_refresh=SubRefreshRequest("", "t")), End(codes.DISCONNECT_BAD_REQUEST)),
        (Command(send=SendRequest()), End(codes.DISCONNECT_NOT_AVAILABLE)),
        (Command(rpc=RPCRequest("echo")), End(codes.DISCONNECT_BAD_REQUEST)),
        (Command(id=3, rpc=RPCRequest("echo")), Perform("rpc")),
        (Command(id=3, unsubscribe=UnsubscribeRequest("room:a")), Perform("unsubscribe")),
        (Command(id=3, unsubscribe=UnsubscribeRequest("")), End(codes.DISCONNECT_BAD_REQUEST)),
        (Command(id=3, publish=PublishRequest("room:a")), Perform("publish")),
        (Command(id=3, publish=PublishRequest("other:a")), Refuse(codes.UNKNOWN_CHANNEL)),
        (Command(id=3, history=HistoryRequest("news:a")), Perform("history")),
        (Command(id=3, history=HistoryRequest("quiet:a")), Refuse(codes.NOT_AVAILABLE)),
        (Command(id=3, presence=PresenceRequest("news:a")), Refuse(codes.NOT_AVAILABLE)),
        (Command(id=3, presence=PresenceRequest("room:a")), Refuse(codes.PERMISSION_DENIED)),
        (Command(id=3, history=HistoryRequest("room:a")), Refuse(codes.PERMISSION_DENIED)),
        (Command(id=3, history=HistoryRequest("")), End(codes.DISCONNECT_BAD_REQUEST)),
    ],
)
def test_commands_are_judged(ready: Session, command: Command, decision: object) -> None:
    """Each request is performed, refused with its code, or ends the connection."""
    assert ready.receive(command, request_name(command)) == decision


@pytest.mark.parametrize(
    ("channel", "decision"),
    [
        ("", End(codes.DISCONNECT_BAD_REQUEST)),
        ("room:" + "a" * 300, Refuse(codes.BAD_REQUEST)),
        ("room:é", Refuse(codes.BAD_REQUEST)),
        ("room:a.b", Refuse(codes.UNKNOWN_CHANNEL)),
        ("room:*", Refuse(codes.UNKNOWN_CHANNEL)),
        ("other", Refuse(codes.UNKNOWN_CHANNEL)),
        ("user:ann", Refuse(codes.UNKNOWN_CHANNEL)),
        ("news:x", Perform("subscribe")),
        ("room:a", Perform("subscribe")),
    ],
)
def test_channels_are_judged_before_anything_is_asked(ready: Session, channel: str, decision: object) -> None:
    """Bad channel names never leave the session."""
    assert ready.receive(subscribe(channel), "subscribe") == decision


def test_a_channel_is_subscribed_once(ready: Session) -> None:
    """A second subscribe is refused while the first is being made, and afterwards."""
    assert ready.receive(subscribe("room:a"), "subscribe") == Perform("subscribe")
    assert ready.receive(subscribe("room:a"), "subscribe") == Refuse(codes.ALREADY_SUBSCRIBED)
    assert ready.subscribed("room:a", 1)
    assert ready.receive(subscribe("room:a"), "subscribe") == Refuse(codes.ALREADY_SUBSCRIBED)


def test_subscriptions_have_a_limit(ready: Session) -> None:
    """The 129th subscription is refused."""
    for number in range(SETTINGS.max_subscriptions):
        assert ready.receive(subscribe(f"room:r{number}"), "subscribe") == Perform("subscribe")
    assert ready.receive(subscribe("room:more"), "subscribe") == Refuse(codes.LIMIT_EXCEEDED)


def test_an_earlier_subscription_cannot_go_live_in_place_of_a_later_one(ready: Session) -> None:
    """Generations: what was unsubscribed and subscribed again meanwhile is another subscription."""
    ready.receive(subscribe("room:a"), "subscribe")
    assert not ready.unsubscribed("room:a")
    ready.receive(subscribe("room:a"), "subscribe")
    assert not ready.subscribed("room:a", 1)
    assert not ready.unsubscribed("room:a", 1)
    assert ready.subscribed("room:a", 2)
    assert ready.is_live("room:a")
    assert ready.unsubscribed("room:a")


def test_a_stray_pong_ends_the_connection(ready: Session) -> None:
    """A pong answers exactly one ping."""
    assert ready.pong() == End(codes.DISCONNECT_BAD_REQUEST)
    assert ready.tick(15) == Ping()
    assert ready.pong() is None
    assert ready.pong() == End(codes.DISCONNECT_BAD_REQUEST)


def test_pings_go_out_on_schedule_and_demand_a_pong(ready: Session) -> None:
    """First after the random offset, then every interval; no pong in time ends the connection."""
    assert ready.next_tick() == 15
    assert ready.tick(14.9) is None
    assert ready.tick(15) == Ping()
    assert ready.next_tick() == 23
    assert ready.pong() is None
    assert ready.next_tick() == 40
    assert ready.tick(40) == Ping()
    assert ready.tick(48) == End(codes.NO_PONG)


def test_a_connection_ends_after_its_token(ready: Session) -> None:
    """A refresh may come up to 25 s late; then the connection has expired."""
    ready.ping_at = 10_000
    assert ready.tick(624.9) is None
    assert ready.tick(625) == End(codes.CONNECTION_EXPIRED)


def test_a_subscription_ends_after_its_token(ready: Session) -> None:
    """A refresh may come up to 25 s late; then the subscription ends, or the connection if the server had made it."""
    ready.ping_at = 10_000
    ready.begin("news:a").expires_at = 100
    assert ready.next_tick() == 125
    assert ready.tick(124.9) is None
    assert ready.tick(125) == Expired("news:a")
    ready.unsubscribed("news:a")
    ready.begin("#ann", server_side=True).expires_at = 100
    assert ready.tick(125) == End(codes.SUBSCRIPTION_EXPIRED)


def test_a_connection_without_an_end_is_not_expired(session: Session) -> None:
    """A credential without an end never expires."""
    session.connected(ANN, 0, None)
    session.ping_at = 10**9
    assert session.tick(10**8) is None


def test_without_connect_a_connection_is_stale(session: Session) -> None:
    """A socket that says nothing is closed at its deadline."""
    assert session.tick(9.9) is None
    assert session.tick(10) == End(codes.STALE)


def test_an_empty_command_is_a_pong() -> None:
    """Nothing at all is a pong; an id alone is not."""
    assert is_pong(Command())
    assert not is_pong(Command(id=1))


def test_a_flood_is_refused_then_ended(session: Session) -> None:
    """A burst is taken; beyond it commands are refused, and who goes on all the same is ended."""
    burst = SETTINGS.command_burst
    assert {session.pace(0) for _ in range(burst)} == {None}
    assert {session.pace(0) for _ in range(burst)} == {Refuse(codes.TOO_MANY_REQUESTS)}
    assert session.pace(0) == End(codes.DISCONNECT_TOO_MANY_REQUESTS)


def test_who_waits_may_go_on(session: Session) -> None:
    """What was too much is forgiven at the rate that is set, and never more than all of it."""
    for _ in range(SETTINGS.command_burst + 1):
        session.pace(0)
    assert session.pace(2 / SETTINGS.commands_per_second) is None
    assert session.pace(2 / SETTINGS.commands_per_second) == Refuse(codes.TOO_MANY_REQUESTS)
    assert {session.pace(10**6) for _ in range(SETTINGS.command_burst)} == {None}
    assert session.pace(10**6) == Refuse(codes.TOO_MANY_REQUESTS)


def test_a_rate_of_zero_is_no_limit(session: Session) -> None:
    """An operator may leave the rate open."""
    session.settings = GatewaySettings(commands_per_second=0)
    assert {session.pace(0) for _ in range(3 * SETTINGS.command_burst)} == {None}
