"""Letting a client in, and keeping it in: the connect and refresh commands, and the judgement of credentials."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.app import VERSION
from gateway import metrics
from gateway.identity import Identity
from gateway.keys import KeysMissing
from gateway.parts import Outcome, Parts, refusal
from gateway.tokens import BadToken, ExpiredToken
from protocol import codes
from protocol.client import Command, ConnectResult, RefreshResult, Reply
from protocol.codes import DisconnectCode, ErrorCode

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
    ttl = _ttl(identity)
    session.connected(identity, connection.now(), connection.now() + ttl)
    connection.entered(identity)
    settings = connection.parts.settings
    return Reply(
        id=command.id,
        connect=ConnectResult(
            client=connection.client,
            version=VERSION,
            expires=True,
            ttl=ttl,
            ping=settings.ping_seconds,
            pong=True,
            session=identity.session,
            node=connection.parts.node,
            time=int(time.time() * 1000),
        ),
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
    if identity.user != current.user:
        return codes.INVALID_TOKEN
    ttl = _ttl(identity)
    connection.parts.hub.leave(connection, current.session)
    connection.session.connected(identity, connection.now(), connection.now() + ttl)
    connection.parts.hub.enter(connection, identity.session)
    return Reply(id=command.id, refresh=RefreshResult(client=connection.client, version=VERSION, expires=True, ttl=ttl))


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
        if handshake is None:
            return _Denied(disconnect=codes.DISCONNECT_BAD_REQUEST)
        identity = handshake
    else:
        try:
            identity = await parts.keys.identify(token)
        except ExpiredToken:
            return _Denied(error=codes.TOKEN_EXPIRED)
        except BadToken:
            return _Denied(disconnect=codes.INVALID_TOKEN)
        except KeysMissing:
            return _Denied(error=codes.UNAVAILABLE)
    if parts.revocations.is_revoked(identity.session):
        return _Denied(disconnect=codes.SESSION_REVOKED)
    if identity.expires_at + parts.settings.token_leeway_seconds < time.time():
        return _Denied(error=codes.TOKEN_EXPIRED)
    return identity


def _ttl(identity: Identity) -> int:
    """Seconds until the client should refresh; at least 1, since 0 would mean never."""
    return max(1, int(identity.expires_at - time.time()))
