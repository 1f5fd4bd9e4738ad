"""Following channels: the subscribe, unsubscribe and sub_refresh commands, and subscriptions the server makes."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.bus import Unavailable
from gateway import metrics
from gateway.feed import Feed, NoLog
from gateway.namespaces import Rules, may_subscribe
from gateway.parts import Outcome, refusal
from gateway.recovery import completed, fresh, kept_since, recovered
from gateway.ring import Entry
from gateway.subscription_tokens import Bad, Expired, Foreign, Grant
from protocol import codes, events, names
from protocol.client import Command, Empty, Push, Reply, SubRefreshResult, SubscribeRequest, SubscribeResult
from protocol.client import Unsubscribe as UnsubscribePush
from protocol.codes import DisconnectCode, ErrorCode
from protocol.commands import Refusal

if TYPE_CHECKING:
    from gateway.connection import Connection

ACCESS_TRIES = 3
LONGEST_TTL = 2**31 - 1
DELTA = "fossil"
ANSWER_UNRECOVERABLE = 2
"""Bit of SubscribeRequest.flag: the app can read its state anew, so a failed recovery is to be error 112."""


@dataclass(slots=True)
class Entrance:
    """A feed that a client may follow, and what is known of how it came to it."""

    feed: Feed
    rules: Rules
    request: SubscribeRequest
    member_as_of: int | None = None
    """Offset as of which the user was a member of the room; None where there is no membership."""
    grant: Grant | None = None
    missed: list[Entry] | None = None


async def subscribe(connection: "Connection", command: Command) -> Outcome:
    """Follow a channel: permission, live feed, missed range, then reply and go live in one turn of the event loop."""
    assert command.subscribe is not None
    request, session = command.subscribe, connection.session
    subscription = session.subscriptions[request.channel]
    generation = subscription.generation
    try:
        entrance = await _enter(connection, request)
        if isinstance(entrance, Entrance):
            await read_missed(connection, entrance)
    except Unavailable:
        entrance = codes.UNAVAILABLE
    except NoLog:
        entrance = codes.UNKNOWN_CHANNEL
    if not isinstance(entrance, Entrance):
        session.unsubscribed(request.channel, generation)
        return refusal(command, entrance) if isinstance(entrance, ErrorCode) else entrance
    # From here to the end nothing awaits: no event can come between the reply and the first live delivery.
    result = go_live(connection, entrance, generation)
    if isinstance(result, ErrorCode):
        session.unsubscribed(request.channel, generation)
        return refusal(command, result)
    connection.send(Reply(id=command.id, subscribe=result))
    announce(connection, request.channel, entrance.rules)
    return None


async def _enter(connection: "Connection", request: SubscribeRequest) -> Entrance | ErrorCode | DisconnectCode:
    """Return the way into a channel, or why there is none (the order of checks is the reference's, 1.3)."""
    parts, identity = connection.parts, connection.session.identity
    rules = parts.namespaces.rules(request.channel)
    assert identity is not None
    assert rules is not None
    room = names.room_of_channel(request.channel)
    if room is not None:
        return await _enter_room(connection, room, request, rules)
    grant: Grant | None = None
    if request.token:
        granted = _granted(connection, request.channel, request.token)
        if not isinstance(granted, Grant):
            return granted
        grant = granted
    if not may_subscribe(rules, request.channel, identity.user, has_token=grant is not None):
        return codes.PERMISSION_DENIED
    feed = await parts.relay.follow(request.channel)
    if rules.join_leave and (request.join_leave or rules.force_join_leave):
        await parts.presence.watch(feed.address)
    return Entrance(feed, rules, request, grant=grant)


def _granted(connection: "Connection", channel: str, token: str) -> Grant | ErrorCode | DisconnectCode:
    identity = connection.session.identity
    assert identity is not None
    try:
        return connection.parts.subscription_grant(token, channel, identity.user, connection.client)
    except Expired:
        return codes.TOKEN_EXPIRED
    except Foreign:
        return codes.INVALID_TOKEN
    except Bad:
        return codes.PERMISSION_DENIED


async def _enter_room(
    connection: "Connection", room: str, request: SubscribeRequest, rules: Rules
) -> Entrance | ErrorCode:
    """Return the way into `room`, with the offset as of which the user was a member."""
    parts, identity = connection.parts, connection.session.identity
    assert identity is not None
    if not identity.is_native:
        return codes.PERMISSION_DENIED  # rooms belong to accounts of our own auth service
    for _ in range(ACCESS_TRIES):
        access = await parts.chat.access(room, identity)
        if isinstance(access, Refusal):
            if access.code == codes.NO_SUCH_ROOM.code:
                return codes.UNKNOWN_CHANNEL
            return codes.ERRORS.get(access.code, codes.INTERNAL)
        if not access.member:
            return codes.PERMISSION_DENIED
        feed = await parts.relay.follow(request.channel)
        if request.join_leave:
            await parts.presence.watch(feed.address)
        # Who has just joined must not be handed events of before: from the feed's position on it gets everything.
        await parts.relay.reach(feed, access.offset)
        if feed.top >= access.offset and feed.ring.after(access.offset) is not None:
            return Entrance(feed, rules, request, member_as_of=access.offset)
        # The room moved on further than we can look back: ask again, now that the feed is open.
    return codes.UNAVAILABLE


async def read_missed(connection: "Connection", entrance: Entrance) -> None:
    """Read what the client missed into `entrance`, if it asks to recover and the channel allows it."""
    if entrance.request.recover and is_recoverable(entrance):
        entrance.missed = await connection.parts.relay.read_missed(entrance.feed, entrance.request)


def is_recoverable(entrance: Entrance) -> bool:
    """Tell whether the subscription may be recovered: always, or where the client asks for it and may."""
    rules, request = entrance.rules, entrance.request
    if not entrance.feed.logged or rules.recovery == "off":
        return False
    return rules.recovery == "forced" or request.recoverable or request.recover


def go_live(connection: "Connection", entrance: Entrance, generation: int) -> SubscribeResult | ErrorCode:
    """Make the subscription live and return its result; the caller sends it in the same turn, and awaits nothing."""
    session, parts = connection.session, connection.parts
    feed, rules, request, channel = entrance.feed, entrance.rules, entrance.request, entrance.feed.address.channel
    assert session.identity is not None
    if entrance.member_as_of is not None and _left_since(feed, entrance.member_as_of, session.identity.user):
        return codes.PERMISSION_DENIED
    result = _position(connection, entrance)
    if isinstance(result, ErrorCode):
        return result
    if not connection.open or not session.subscribed(channel, generation):
        return codes.NOT_AVAILABLE
    subscription = session.subscriptions[channel]
    subscription.join_leave = rules.join_leave and (request.join_leave or rules.force_join_leave)
    subscription.wants_delta = _wants_delta(entrance)
    result.delta = subscription.wants_delta
    if entrance.grant is not None:
        subscription.chan_info = entrance.grant.info
        if entrance.grant.expires_at:
            ttl = ttl_until(entrance.grant.expires_at)
            result.expires, result.ttl = True, ttl
            subscription.expires_at = connection.now() + ttl
    parts.hub.add(channel, connection, wants_delta=subscription.wants_delta, has_previous=bool(result.publications))
    metrics.subscriptions.inc()
    return result


def _wants_delta(entrance: Entrance) -> bool:
    return entrance.rules.delta and entrance.request.delta == DELTA


def _position(connection: "Connection", entrance: Entrance) -> SubscribeResult | ErrorCode:
    """Return where the client stands: recovered in whole, or at the top."""
    feed, request = entrance.feed, entrance.request
    recoverable = is_recoverable(entrance)
    if not request.recover or not recoverable:
        return fresh(feed.epoch, feed.top, recoverable=recoverable)
    whole = completed(entrance.missed, request.offset, feed.ring)
    seconds = entrance.rules.history_seconds
    if whole is None or (seconds and not kept_since(whole, time.time() - seconds)):
        metrics.recoveries.labels("not_recovered").inc()
        if request.flag & ANSWER_UNRECOVERABLE:
            return codes.UNRECOVERABLE_POSITION
        return fresh(feed.epoch, feed.top, recoverable=True, was_recovering=True)
    metrics.recoveries.labels("recovered").inc()
    metrics.recovered_publications.inc(len(whole))
    return recovered(request, feed.epoch, whole, connection.codec, wants_delta=_wants_delta(entrance))


def announce(connection: "Connection", channel: str, rules: Rules) -> None:
    """Enter the client into presence, after its subscribe reply: it sees its own join."""
    if rules.presence or rules.join_leave:
        connection.parts.presence.joined(channel, connection.client_info(channel))


def _left_since(feed: Feed, offset: int, user: str) -> bool:
    """Tell whether the user's last change of membership after `offset` was to leave; when in doubt, yes."""
    entries = feed.ring.after(offset)
    if entries is None:
        return True
    changes = [e for e in entries if e.user == user and e.type in (events.JOINED, events.LEFT)]
    return bool(changes) and changes[-1].type == events.LEFT


async def enter_server_side(
    connection: "Connection", wanted: dict[str, SubscribeRequest]
) -> dict[str, Entrance] | ErrorCode:
    """Open the channels that the server subscribes a client to, and read what it missed of each."""
    parts = connection.parts

    async def enter(channel: str, request: SubscribeRequest) -> Entrance | None:
        rules = parts.namespaces.rules(channel)
        if rules is None:
            return None  # a token may name a channel of a namespace that is gone
        feed = await parts.relay.follow(channel)
        if rules.join_leave and rules.force_join_leave:
            await parts.presence.watch(feed.address)
        entrance = Entrance(feed, rules, request)
        await read_missed(connection, entrance)
        return entrance

    try:
        if len(wanted) == 1:  # the user's own channel: no task for that
            entered = [await enter(*one) for one in wanted.items()]
        else:
            entered = await asyncio.gather(*(enter(*one) for one in wanted.items()))
    except (Unavailable, NoLog):
        return codes.UNAVAILABLE
    return {channel: one for channel, one in zip(wanted, entered, strict=True) if one is not None}


def unsubscribe(connection: "Connection", command: Command) -> Outcome:
    """Stop following; answered with success also for a channel that was not followed."""
    assert command.unsubscribe is not None
    connection.forget_subscription(command.unsubscribe.channel)
    return Reply(id=command.id, unsubscribe=Empty())


async def sub_refresh(connection: "Connection", command: Command) -> Outcome:
    """Take a newer token of a subscription."""
    assert command.sub_refresh is not None
    granted = _granted(connection, command.sub_refresh.channel, command.sub_refresh.token)
    if isinstance(granted, ErrorCode):
        return refusal(command, granted)
    if isinstance(granted, DisconnectCode):
        return granted
    subscription = connection.session.subscriptions[command.sub_refresh.channel]
    if not granted.expires_at:
        subscription.expires_at = None
        return Reply(id=command.id, sub_refresh=SubRefreshResult())
    ttl = ttl_until(granted.expires_at)
    subscription.expires_at = connection.now() + ttl
    return Reply(id=command.id, sub_refresh=SubRefreshResult(expires=True, ttl=ttl))


def ttl_until(end: int) -> int:
    """Return the seconds until `end` (since the epoch), 1 to 2^31-1 as the wire has it; 0 for an end of 0, never."""
    return min(max(1, int(end - time.time())), LONGEST_TTL) if end else 0


def unsubscribe_push(channel: str, code: codes.UnsubscribeCode) -> Reply:
    """Return the push that tells a client of the end of a subscription."""
    return Reply(push=Push(channel=channel, unsubscribe=UnsubscribePush(code.code, code.reason)))
