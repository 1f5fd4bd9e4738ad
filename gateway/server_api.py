"""The server API: what a team's own backend may have done, over HTTP with a key (docs/server-api.md).

`POST /api/<method>` in the shapes of Centrifugo's HTTP API (`api_bodies.py`), so that clients written for that work:
answered `{"result": ...}` or `{"error": {"code", "message"}}` with status 200. Who holds the key is trusted with every
channel that namespaces declare. What is said in rooms is decided by the chat service alone, and needs an author: rooms
and users' own channels can be read here, never written.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from msgspec import Raw, Struct

from chassis.app import problem_response
from chassis.bus import TooLarge, Unavailable
from chassis.metrics import start_at_zero
from gateway import metrics
from gateway.api_bodies import (
    Broadcast,
    BroadcastResult,
    Disconnect,
    Ending,
    Failure,
    History,
    HistoryResult,
    Info,
    InfoResult,
    OfChannel,
    Outcome,
    Position,
    Publish,
    StoredPublication,
    Unsubscribe,
)
from gateway.control import Control, EndConnections, EndSubscriptions, Whose, disconnect_code
from gateway.feed import NoLog
from gateway.namespaces import Rules
from gateway.operations import history_range
from gateway.parts import Parts
from gateway.presence import TooMany
from gateway.publications import publication
from protocol import codes, names
from protocol.client import (
    ClientInfo,
    Empty,
    HistoryRequest,
    PresenceResult,
    PresenceStatsResult,
    Publication,
    StreamPosition,
)
from protocol.client_json import compact, is_json
from protocol.codes import ErrorCode

KEY_HEADER = "X-API-Key"
KEY_SCHEME = "apikey"
MOST_REASON_BYTES = 123
"""What a WebSocket close frame has room for (RFC 6455, 5.5)."""
NOT_OFFERED = frozenset({"batch", "channels", "history_remove", "subscribe", "refresh", "rpc"})
"""Methods of such clients that exist, and are answered with error 108."""


class Refused(Exception):
    """A request answered with an error."""

    def __init__(self, error: ErrorCode, detail: str = "") -> None:
        super().__init__(error.code)
        self.error = error
        self.detail = detail


class ServerAPI:
    """Carries out the methods, in whichever process the request arrives."""

    def __init__(self, parts: Parts, control: Control) -> None:
        self.settings = parts.settings
        self._parts = parts
        self._control = control
        self._publishing = asyncio.Semaphore(parts.settings.api_publishing)

    async def answer(self, method: str, body: bytes) -> tuple[bytes, str]:
        """Carry out a request within its deadline; return the answer and the label of its result.

        Raises `ValueError` or `RecursionError` for a body that is not understood.
        """
        try:
            if method in NOT_OFFERED:
                raise Refused(codes.NOT_AVAILABLE)
            request = decoded(method, body)
            # A broadcast has its deadline per channel: what was done in time is told.
            async with asyncio.timeout(None if method == "broadcast" else self.settings.api_seconds):
                result = await METHODS[method][1](self, request)
            return msgspec.json.encode({"result": result}), "ok"
        except Refused as refused:
            failure = _failure(refused.error, refused.detail)
        except _FAILURES as error:
            failure = _failure(_code_of(error))
        return msgspec.json.encode({"error": failure}), str(failure.code)

    async def publish(self, request: Publish) -> Position:
        """Publish into one channel; acknowledged when it is on disk, or sent on where there is no history."""
        return await self._publish(request.channel, _data(request), request)

    async def broadcast(self, request: Broadcast) -> BroadcastResult:
        """Publish into each channel; what is not done in time is answered 503, and may have been done."""
        data, channels = _data(request), request.channels or []
        if not channels:
            raise Refused(codes.BAD_REQUEST, "channels is missing")
        if len(channels) > self.settings.api_channels:
            raise Refused(codes.LIMIT_EXCEEDED, f"at most {self.settings.api_channels} channels")
        outcomes = await asyncio.gather(*(self._outcome(channel, data, request) for channel in channels))
        return BroadcastResult(outcomes)

    async def history(self, request: History) -> HistoryResult:
        """Return publications of a channel and its newest position, whoever may read it otherwise."""
        channel, rules = self._channel(request.channel)
        if not rules.history_size:
            raise Refused(codes.NOT_AVAILABLE, "the channel has no history")
        wanted = _history_request(channel, request)
        relay = self._parts.relay
        feed = await relay.follow(channel)
        if wanted.since is not None and wanted.since.epoch not in ("", feed.epoch):
            raise Refused(codes.UNRECOVERABLE_POSITION)
        epoch, top = feed.epoch, feed.top
        after, upto = history_range(wanted, top, feed.history)
        found = await relay.range(feed, after, upto) if upto > after else []
        if rules.history_seconds:
            found = [entry for entry in found if entry.stored_at >= time.time() - rules.history_seconds]
        if wanted.reverse:
            found.reverse()
        return HistoryResult([_stored(publication(entry)) for entry in found], top, epoch)

    async def presence(self, request: OfChannel) -> PresenceResult:
        """Return who is subscribed, in the whole cluster."""
        return PresenceResult(await self._present(request))

    async def presence_stats(self, request: OfChannel) -> PresenceStatsResult:
        """Count who is subscribed."""
        found = await self._present(request)
        return PresenceStatsResult(len(found), len({info.user for info in found.values()}))

    async def disconnect(self, request: Disconnect) -> Empty:
        """End connections in the whole cluster."""
        ending = request.disconnect or Ending()
        code = ending.code or codes.FORCE_DISCONNECT.code
        if not 3000 <= code <= 4999:
            raise Refused(codes.BAD_REQUEST, "a disconnect code is a number from 3000 to 4999")
        reason = disconnect_code(code, ending.reason or "").reason
        if len(reason.encode()) > MOST_REASON_BYTES:
            raise Refused(codes.BAD_REQUEST, f"a reason has at most {MOST_REASON_BYTES} bytes")
        await self._control.order(EndConnections(_whose(request, request.whitelist or []), code, reason))
        return Empty()

    async def unsubscribe(self, request: Unsubscribe) -> Empty:
        """End subscriptions in the whole cluster; the users stay connected."""
        channel, _ = self._channel(request.channel)
        await self._control.order(EndSubscriptions(_whose(request, []), channel))
        return Empty()

    async def info(self, _: Info) -> InfoResult:
        """Return what every gateway process tells of itself."""
        return InfoResult(await self._control.nodes())

    async def _outcome(self, channel: str, data: bytes, request: Broadcast) -> Outcome:
        try:
            async with asyncio.timeout(self.settings.api_seconds):
                return Outcome(result=await self._publish(channel, data, request))
        except Refused as refused:
            return Outcome(error=_failure(refused.error, refused.detail))
        except _FAILURES as error:
            return Outcome(error=_failure(_code_of(error)))

    async def _publish(self, named: str | None, data: bytes, request: Publish | Broadcast) -> Position:
        channel, rules = self._channel(named)
        if names.room_of_channel(channel) is not None or names.user_of_channel(channel) is not None:
            raise Refused(codes.PERMISSION_DENIED, "only the chat service writes there")
        if request.skip_history:
            rules = replace(rules, history_size=0)
        # A digest: the caller's key may hold anything, and goes into a header.
        key = request.idempotency_key and hashlib.sha256(request.idempotency_key.encode()).hexdigest()
        async with self._publishing:
            tail = await self._parts.publisher.publish(channel, rules, data, tags=request.tags, key=key or "")
        return Position(tail.offset, tail.epoch)

    async def _present(self, request: OfChannel) -> dict[str, ClientInfo]:
        channel, rules = self._channel(request.channel)
        if not rules.presence:
            raise Refused(codes.NOT_AVAILABLE, "the channel has no presence")
        return await self._parts.presence.of_channel(channel)

    def _channel(self, channel: str | None) -> tuple[str, Rules]:
        if not channel:
            raise Refused(codes.BAD_REQUEST, "channel is missing")
        rules = self._parts.namespaces.rules(channel)
        if rules is None:
            raise Refused(codes.UNKNOWN_CHANNEL)
        return channel, rules


def _data(request: Publish | Broadcast) -> bytes:
    """Return what is to be published, without line breaks if it is JSON: they would end a frame's object."""
    data = bytes(request.data)
    if request.b64data:
        try:
            data = base64.b64decode(request.b64data, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(codes.BAD_REQUEST, "b64data is not base64") from None
    if not data:
        raise Refused(codes.BAD_REQUEST, "data is missing")
    return compact(data) if is_json(data) else data


def _history_request(channel: str, request: History) -> HistoryRequest:
    since = None
    if request.since is not None:
        since = StreamPosition(request.since.offset or 0, request.since.epoch or "")
        if since.offset < 0 or (request.reverse and since.offset == 0):
            raise Refused(codes.BAD_REQUEST, "there is nothing before that position")
    return HistoryRequest(channel, request.limit or 0, since, bool(request.reverse))


def _whose(request: Disconnect | Unsubscribe, keep: list[str]) -> Whose:
    """Return whose connections are meant; users without an id only one by one, lest a forgotten field ends them all."""
    whose = Whose(request.user or "", request.client or "", request.session or "", tuple(keep))
    if not (whose.user or whose.client or whose.session):
        raise Refused(codes.BAD_REQUEST, "user is missing")
    return whose


def _stored(found: Publication) -> StoredPublication:
    data = bytes(found.data)
    if is_json(data):
        return StoredPublication(found.data, found.offset, "", found.info, found.tags)
    return StoredPublication(Raw(b"null"), found.offset, base64.b64encode(data).decode(), found.info, found.tags)


def _failure(error: ErrorCode, detail: str = "") -> Failure:
    return Failure(error.code, f"{error.message}: {detail}" if detail else error.message)


_FAILURES = (Unavailable, TooLarge, TooMany, NoLog, TimeoutError)


def _code_of(error: Exception) -> ErrorCode:
    """Return the code for what the parts raise."""
    if isinstance(error, NoLog):
        return codes.UNKNOWN_CHANNEL
    return codes.UNAVAILABLE if isinstance(error, (Unavailable, TimeoutError)) else codes.LIMIT_EXCEEDED


Call = Callable[[ServerAPI, Any], Awaitable[Struct]]
METHODS: dict[str, tuple[type[Struct], Call]] = {
    "publish": (Publish, ServerAPI.publish),
    "broadcast": (Broadcast, ServerAPI.broadcast),
    "history": (History, ServerAPI.history),
    "presence": (OfChannel, ServerAPI.presence),
    "presence_stats": (OfChannel, ServerAPI.presence_stats),
    "disconnect": (Disconnect, ServerAPI.disconnect),
    "unsubscribe": (Unsubscribe, ServerAPI.unsubscribe),
    "info": (Info, ServerAPI.info),
}


def decoded(method: str, body: bytes) -> Struct:
    """Return the request in `body`; raise `ValueError`, or `RecursionError`, when it is none of that method."""
    body.decode()  # msgspec does not look into the strings of a `Raw`
    found: Struct = msgspec.json.decode(body, type=METHODS[method][0])
    return found


def shows_key(request: Request, *keys: bytes) -> bool:
    """Tell whether a request shows one of `keys`, in constant time: `X-API-Key`, else `Authorization: apikey ...`."""
    shown = request.headers.get(KEY_HEADER)
    if shown is None:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != KEY_SCHEME:
            return False
    found = shown.strip().encode("latin-1")
    return any([hmac.compare_digest(found, key) for key in keys if key])  # a list: each takes its time


router = APIRouter()


@router.post("/api/{method}", include_in_schema=False)
async def call(method: str, request: Request) -> Response:
    """Answer one request of the server API."""
    api: ServerAPI = request.app.state.server_api
    settings = api.settings
    key = settings.api_key.get_secret_value().encode()
    if not key:
        return problem_response(404, "not_found", "the server API is off: API_KEY is not set")
    label = method if method in METHODS or method in NOT_OFFERED else "unknown"
    started = time.perf_counter()
    answer, result = await _answer(api, method, request, key)
    metrics.api_requests.labels(label, result).inc()
    metrics.api_seconds.labels(label).observe(time.perf_counter() - started)
    return answer


async def _answer(api: ServerAPI, method: str, request: Request, key: bytes) -> tuple[Response, str]:
    """Return the answer and the label of its result."""
    if not shows_key(request, key, api.settings.api_key_previous.get_secret_value().encode()):
        refusal = problem_response(401, "invalid_api_key", "the API key is missing or wrong")
        refusal.headers["WWW-Authenticate"] = KEY_SCHEME
        return refusal, "unauthorized"
    if "Origin" in request.headers:  # a key in a page is a key given away
        return problem_response(403, "not_for_pages", "the server API is for servers, not for pages"), "from_page"
    if method not in METHODS and method not in NOT_OFFERED:
        return problem_response(404, "not_found", "there is no such method"), "unknown"
    try:
        async with asyncio.timeout(api.settings.api_seconds):
            body = await _body(request, api.settings.api_body_bytes)
    except TimeoutError:
        return problem_response(408, "timeout", "the request body took too long"), "timeout"
    if body is None:
        return problem_response(
            413, "too_large", f"a body has at most {api.settings.api_body_bytes} bytes"
        ), "too_large"
    try:
        content, result = await api.answer(method, body)
    except (ValueError, RecursionError) as error:
        return problem_response(400, "invalid_request", f"the body is not understood: {error}"), "undecodable"
    return Response(content, media_type="application/json"), result


async def _body(request: Request, most: int) -> bytes | None:
    """Return a request's body, or None when it is larger than `most` bytes."""
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            return bytes(body)  # the client went away; nobody reads the answer
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


for _method in METHODS:
    start_at_zero(metrics.api_requests, (_method, "ok"), (_method, "unauthorized"))


def add_to(app: FastAPI) -> None:
    """Add the API to `app`; before the page, which answers any path."""
    app.include_router(router)
