"""What the gateway does for the requests of a client that is let in: the I/O between a decision and its reply.

Each function takes the connection and a command that the session let through, and returns the outcome. Errors of the
parts become error codes in these operations and nowhere else. Those that need nobody else are plain functions.
"""

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from chassis.bus import TooLarge, Unavailable
from gateway.admission import connect, refresh
from gateway.feed import NoLog
from gateway.following import sub_refresh, subscribe, unsubscribe
from gateway.namespaces import Rules, may_publish
from gateway.parts import Operation, Outcome, refusal
from gateway.presence import TooMany
from gateway.publications import publication
from gateway.ring import Entry
from protocol import codes, names, subjects
from protocol.client import (
    ClientInfo,
    Command,
    Empty,
    Error,
    HistoryRequest,
    HistoryResult,
    PresenceResult,
    PresenceStatsResult,
    Reply,
    RPCResult,
)
from protocol.client_json import is_json
from protocol.codes import ErrorCode
from protocol.commands import Refusal

if TYPE_CHECKING:
    from gateway.connection import Connection

ECHO = "echo"
_NOTHING = Empty()


def publish(connection: "Connection", command: Command) -> Outcome | Awaitable[Outcome]:
    """Publish into a channel; on a room the text, or {id, text}: the same path as `message.send`.

    What has no history is passed on in this turn; what is stored has to wait for the disk.
    """
    assert command.publish is not None
    channel = command.publish.channel
    session, parts = connection.session, connection.parts
    rules = parts.namespaces.rules(channel)
    assert rules is not None
    assert session.identity is not None
    if rules.publish == "chat":
        return _say(connection, command, names.room_of_channel(channel) or "")
    if rules.subscribe == "server" or not may_publish(rules, session.identity.user, session.is_live(channel)):
        return refusal(command, codes.PERMISSION_DENIED)
    data = bytes(command.publish.data)
    if not data:
        return refusal(command, codes.BAD_REQUEST)
    if rules.history_size:
        return _store(connection, command, rules, data)
    try:
        parts.publisher.pass_on(channel, data, connection.client_info(channel))
    except Unavailable:
        return refusal(command, codes.UNAVAILABLE)
    except TooLarge:
        return refusal(command, codes.LIMIT_EXCEEDED)
    return Reply(id=command.id, publish=_NOTHING)


async def _store(connection: "Connection", command: Command, rules: Rules, data: bytes) -> Outcome:
    assert command.publish is not None
    channel = command.publish.channel
    try:
        await connection.parts.publisher.publish(channel, rules, data, connection.client_info(channel))
    except Unavailable:
        return refusal(command, codes.UNAVAILABLE)
    except TooLarge:
        return refusal(command, codes.LIMIT_EXCEEDED)
    return Reply(id=command.id, publish=_NOTHING)


async def _say(connection: "Connection", command: Command, room: str) -> Outcome:
    assert command.publish is not None
    identity = connection.session.identity
    assert identity is not None
    if not identity.is_native:
        return refusal(command, codes.PERMISSION_DENIED)
    try:
        data = msgspec.json.decode(command.publish.data or Raw(b"null"), type=str | _Publish)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return refusal(command, codes.BAD_REQUEST, "data is a text, or an object with text and id")
    text, identifier = (data, "") if isinstance(data, str) else (data.text, data.id)
    body = msgspec.json.encode({"room": room, "id": identifier or names.new_id(), "text": text})
    answer = await connection.parts.chat.ask("message.send", identity, connection.client, Raw(body))
    if isinstance(answer, Refusal):
        return Reply(id=command.id, error=Error(answer.code, answer.message, answer.temporary))
    return Reply(id=command.id, publish=_NOTHING)


class _Publish(msgspec.Struct):
    text: str
    id: str = ""


def rpc(connection: "Connection", command: Command) -> Outcome | Awaitable[Outcome]:
    """Call a method: `echo` here, everything else in the chat service."""
    assert command.rpc is not None
    assert connection.session.identity is not None
    if command.rpc.method == ECHO:
        return Reply(id=command.id, rpc=RPCResult(data=command.rpc.data))
    if command.rpc.method not in subjects.CHAT_METHODS:
        return refusal(command, codes.METHOD_NOT_FOUND)
    if not connection.session.identity.is_native:
        return refusal(command, codes.PERMISSION_DENIED)
    if not is_json(bytes(command.rpc.data or b"{}")):
        return refusal(command, codes.BAD_REQUEST, "data is JSON")
    return _ask(connection, command)


async def _ask(connection: "Connection", command: Command) -> Outcome:
    assert command.rpc is not None
    assert connection.session.identity is not None
    answer = await connection.parts.chat.ask(
        command.rpc.method, connection.session.identity, connection.client, command.rpc.data
    )
    if isinstance(answer, Refusal):
        return Reply(id=command.id, error=Error(answer.code, answer.message, answer.temporary))
    return Reply(id=command.id, rpc=RPCResult(data=answer))


async def presence(connection: "Connection", command: Command) -> Outcome:
    """List who is subscribed."""
    assert command.presence is not None
    found = await _present(connection, command.presence.channel)
    if isinstance(found, ErrorCode):
        return refusal(command, found)
    return Reply(id=command.id, presence=PresenceResult(found))


async def presence_stats(connection: "Connection", command: Command) -> Outcome:
    """Count who is subscribed."""
    assert command.presence_stats is not None
    found = await _present(connection, command.presence_stats.channel)
    if isinstance(found, ErrorCode):
        return refusal(command, found)
    users = {info.user for info in found.values()}
    return Reply(id=command.id, presence_stats=PresenceStatsResult(len(found), len(users)))


async def _present(connection: "Connection", channel: str) -> dict[str, ClientInfo] | ErrorCode:
    try:
        return await connection.parts.presence.of_channel(channel)
    except Unavailable:
        return codes.UNAVAILABLE
    except TooMany:
        return codes.LIMIT_EXCEEDED


async def history(connection: "Connection", command: Command) -> Outcome:
    """Return publications of a channel and its position (reference 1.3)."""
    assert command.history is not None
    request, parts = command.history, connection.parts
    rules = parts.namespaces.rules(request.channel)
    assert rules is not None
    if request.reverse and request.since is not None and request.since.offset == 0:
        return refusal(command, codes.BAD_REQUEST)
    try:
        feed = await parts.relay.follow(request.channel)
        await parts.relay.catch_up(feed)  # whoever was told that something is stored finds it here, on any gateway
        if request.since is not None and request.since.epoch not in ("", feed.epoch):
            return refusal(command, codes.UNRECOVERABLE_POSITION)
        after, upto = history_range(request, feed.top, feed.history)
        found: list[Entry] = await parts.relay.range(feed, after, upto) if upto > after else []
    except Unavailable:
        return refusal(command, codes.UNAVAILABLE)
    except NoLog:
        return refusal(command, codes.UNKNOWN_CHANNEL)
    if rules.history_seconds:
        found = [entry for entry in found if entry.stored_at >= time.time() - rules.history_seconds]
    if connection.codec.text and not all(is_json(entry.body) for entry in found):
        return codes.INAPPROPRIATE_PROTOCOL
    if request.reverse:
        found.reverse()
    publications = [publication(entry) for entry in found]
    return Reply(id=command.id, history=HistoryResult(publications, feed.epoch, feed.top))


def history_range(request: HistoryRequest, top: int, most: int) -> tuple[int, int]:
    """Return (after, upto): the offsets after+1 .. upto that answer `request`. Limit 0: none; below 0: `most`."""
    limit = most if request.limit < 0 else min(request.limit, most)
    if request.reverse:
        upto = top if request.since is None else min(top, request.since.offset - 1)
        return max(0, upto - limit), upto
    after = max(0, top - most) if request.since is None else min(request.since.offset, top)
    return after, min(top, after + limit)


OPERATIONS: dict[str, Operation] = {
    "connect": connect,
    "refresh": refresh,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "sub_refresh": sub_refresh,
    "publish": publish,
    "rpc": rpc,
    "presence": presence,
    "presence_stats": presence_stats,
    "history": history,
}
