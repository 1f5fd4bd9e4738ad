"""Letting a client in, and keeping it in: the connect and refresh commands, and the judgement of credentials."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.app import VERSION
from gateway import metrics
from gateway.following import Entrance, announce, enter_server_side, go_live, ttl_until
from gateway.identity import ANONYMOUS, Identity
from gateway.keys import KeysMissing
from gateway.namespaces import personal_channel
from gateway.parts import Outcome, Parts, refusal
from gateway.tokens import BadToken, ExpiredToken
from protocol import codes
from protocol.client import (
    Command,
    ConnectRequest,
    ConnectResult,
    RefreshResult,
    Reply,
    SubscribeRequest,
    SubscribeResult,
)
from protocol.codes import DisconnectCode, ErrorCode
from protocol.names import user_channel

if TYPE_CHECKING:
    from gateway.connection import Connection


async def connect(connection: "Connection", command: Command) -> Outcome:
    """Authenticate: by the token of the command, else by what the handshake proved."""
    assert command.connect is not None
    session = connection.session
    identity = await _identify(connection.parts, command.connect.token, connection.handshake_identity)
    metrics.authenticated.labels("ok" if isinstance(identity, Identity) else identity.message_or_reason).inc()
    if isinstance(identity, _Denied):
        if identity.disconnect is not None:
            return identity.disconnect
        session.refused()
        assert identity.error is not None
        return refusal(command, identity.error)
    subs = await _server_side(connection, identity, command.connect)
    if isinstance(subs, ErrorCode):
        session.refused()
        return refusal(command, subs)
    # From here to the end nothing awaits: no event can come between the reply and the first live delivery.
    if not connection.open:
        return None  # it left meanwhile: what enters now nobody would take out again
    # What ended while the channels were opened did not find this connection among those to close.
    ended = connection.parts.revocations.ended(identity)
    if ended is not None:
        return ended
    ttl = _ttl(identity)
    now = connection.now()
    session.connected(identity, now, now + ttl if ttl else None)
    connection.entered(identity)
    results: dict[str, SubscribeResult] = {}
    for channel, entrance in subs.items():
        generation = session.begin(channel, server_side=True).generation
        result = go_live(connection, entrance, generation)
        if isinstance(result, ErrorCode):
            session.unsubscribed(channel, generation)
        else:
            results[channel] = result
    settings = connection.parts.settings
    connection.send(
        Reply(
            id=command.id,
            connect=ConnectResult(
                client=connection.client,
                version=VERSION,
                expires=bool(ttl),
                ttl=ttl,
                subs=results,
                ping=settings.ping_seconds,
                pong=True,
                session=connection.secret,
                node=connection.parts.node,
                time=int(time.time() * 1000),
            ),
        )
    )
    for channel in results:
        announce(connection, channel, subs[channel].rules)
    return None


async def _server_side(
    connection: "Connection", identity: Identity, request: ConnectRequest
) -> dict[str, Entrance] | ErrorCode:
    """Open what the client is subscribed to by us: what concerns its user, and what its token names."""
    settings = connection.parts.settings
    channels = list(identity.channels)
    if identity.is_native:
        channels.append(user_channel(identity.user))
    elif settings.personal_channel and (own := personal_channel(identity.user)) is not None:
        channels.append(own)
    session = connection.session
    session.identity = identity  # what enters a channel asks for the user
    return await enter_server_side(
        connection, {channel: request.subs.get(channel) or SubscribeRequest(channel=channel) for channel in channels}
    )


async def refresh(connection: "Connection", command: Command) -> Outcome:
    """Take a newer token of the same user."""
    assert command.refresh is not None
    current = connection.session.identity
    assert current is not None
    identity = await _identify(connection.parts, command.refresh.token, None)
    if isinstance(identity, _Denied):
        if identity.disconnect is not None:
            return identity.disconnect
        assert identity.error is not None
        return refusal(command, identity.error)
    # Also of the same kind: an id of another system may equal that of an account.
    if (identity.user, identity.is_native) != (current.user, current.is_native):
        return codes.INVALID_TOKEN
    if not connection.open:
        return None  # it left while its token was judged
    ttl = _ttl(identity)
    connection.parts.hub.leave(connection, current.session)
    now = connection.now()
    connection.session.renewed(identity, now + ttl if ttl else None)
    connection.parts.hub.enter(connection, identity.session)
    return Reply(
        id=command.id, refresh=RefreshResult(client=connection.client, version=VERSION, expires=bool(ttl), ttl=ttl)
    )


@dataclass(frozen=True, slots=True)
class _Denied:
    """A credential that was not accepted: an error to answer, or an ending."""

    error: ErrorCode | None = None
    disconnect: DisconnectCode | None = None

    @property
    def message_or_reason(self) -> str:
        """What the metric calls it."""
        return (self.error.message if self.error else self.disconnect.reason if self.disconnect else "").replace(
            " ", "_"
        )


async def _identify(parts: Parts, token: str, handshake: Identity | None) -> Identity | _Denied:
    """Judge a credential: bad ends with 3500, expired is error 109, none at all is 3501, no keys yet is temporary."""
    if not token:
        if handshake is not None:
            identity = handshake
        elif parts.settings.anonymous_allowed:
            return ANONYMOUS
        else:
            return _Denied(disconnect=codes.DISCONNECT_BAD_REQUEST)
    else:
        try:
            identity = await parts.keys.identify(token)
        except ExpiredToken:
            return _Denied(error=codes.TOKEN_EXPIRED)
        except BadToken:
            return _Denied(disconnect=codes.INVALID_TOKEN)
        except KeysMissing:
            return _Denied(error=codes.UNAVAILABLE)
    ended = parts.revocations.ended(identity)
    if ended is codes.KEY_WITHDRAWN:
        return _Denied(error=codes.TOKEN_EXPIRED)  # which has the SDK fetch another
    if ended is not None:
        return _Denied(disconnect=ended)
    if identity.expires_at and identity.expires_at + parts.settings.token_leeway_seconds < time.time():
        return _Denied(error=codes.TOKEN_EXPIRED)
    return identity


def _ttl(identity: Identity) -> int:
    """Seconds until the client should refresh, at least 1; 0 for a credential without an end."""
    return ttl_until(identity.expires_at)
