"""Following a channel: the subscribe and unsubscribe commands."""

from typing import TYPE_CHECKING

from chassis.bus import Unavailable
from gateway import metrics
from gateway.feed import Feed, NoLog
from gateway.parts import Outcome, refusal
from protocol import codes, events, names
from protocol.client import Command, Empty, Reply, SubscribeRequest
from protocol.codes import ErrorCode
from protocol.commands import Refusal

if TYPE_CHECKING:
    from gateway.connection import Connection

ACCESS_TRIES = 3


async def subscribe(connection: "Connection", command: Command) -> Outcome:
    """Follow a channel: access, live feed, missed range, then reply and go live in one turn of the event loop."""
    assert command.subscribe is not None
    request = command.subscribe
    session, parts = connection.session, connection.parts
    generation = session.subscriptions[request.channel].generation
    room = names.room_of_channel(request.channel)
    assert room is not None
    assert session.identity is not None
    try:
        outcome = await _enter_room(connection, room, request)
    except Unavailable:
        outcome = codes.UNAVAILABLE
    except NoLog:
        outcome = codes.NO_SUCH_ROOM
    if isinstance(outcome, ErrorCode):
        session.unsubscribed(request.channel, generation)
        return refusal(command, outcome)
    feed, since = outcome
    try:
        result = await parts.relay.recover(feed, request)
    except Unavailable:
        session.unsubscribed(request.channel, generation)
        return refusal(command, codes.UNAVAILABLE)
    # From here to the end nothing awaits: no event can come between the reply and the first live delivery.
    if _left_since(feed, since, session.identity.user):
        session.unsubscribed(request.channel, generation)
        return refusal(command, codes.PERMISSION_DENIED)
    if not connection.open or not session.subscribed(request.channel, generation):
        return refusal(command, codes.NOT_AVAILABLE)
    connection.send(Reply(id=command.id, subscribe=result))
    parts.hub.add(request.channel, connection)
    parts.presence.joined(room, connection.client_info())
    metrics.subscriptions.inc()
    return None


async def _enter_room(connection: "Connection", room: str, request: SubscribeRequest) -> tuple[Feed, int] | ErrorCode:
    """Return the feed of `room` and the offset as of which the user was a member."""
    parts, identity = connection.parts, connection.session.identity
    assert identity is not None
    for _ in range(ACCESS_TRIES):
        access = await parts.chat.access(room, identity)
        if isinstance(access, Refusal):
            if access.code == codes.NO_SUCH_ROOM.code:
                return codes.UNKNOWN_CHANNEL
            return codes.ERRORS.get(access.code, codes.INTERNAL)
        if not access.member:
            return codes.PERMISSION_DENIED
        feed = await parts.relay.follow(room)
        if request.join_leave:
            await parts.presence.watch(room)
        if feed.ring.after(access.offset) is not None:
            return feed, access.offset
        # The room moved on further than we can look back: ask again, now that the feed is open.
    return codes.UNAVAILABLE


def _left_since(feed: Feed, offset: int, user: str) -> bool:
    """Tell whether the user's last change of membership after `offset` was to leave; when in doubt, yes."""
    entries = feed.ring.after(offset)
    if entries is None:
        return True
    changes = [e for e in entries if e.user == user and e.type in (events.JOINED, events.LEFT)]
    return bool(changes) and changes[-1].type == events.LEFT


async def unsubscribe(connection: "Connection", command: Command) -> Outcome:
    """Stop following; answered with success also for a channel that was not followed."""
    assert command.unsubscribe is not None
    connection.forget_subscription(command.unsubscribe.channel)
    return Reply(id=command.id, unsubscribe=Empty())
