"""The FastAPI dependency that turns the credentials of a request or handshake into an `Identity`.

Works for HTTP routes and WebSocket endpoints alike, beside `Cookie`, `Header`, `Path` and `Query` parameters:

    @app.get("/me")
    async def me(identity: Annotated[Identity, Depends(require_identity)]) -> ...

Credentials, the first that is present: `Authorization: Bearer`, a one-use ticket (`?ticket=`, or the subprotocol
`ticket.<ticket>`), the cookie `parley_token`. A cookie counts only with an allowed Origin, since browsers send it for
any page (cross-site WebSocket hijacking). Long-lived tokens are never taken from a URL.
"""

from typing import Annotated, NoReturn

import msgspec
from fastapi import Cookie, Depends, Header, HTTPException, Query, WebSocketException
from fastapi.requests import HTTPConnection

from chassis import logs
from chassis.bus import Bus, TooLarge, Unavailable
from gateway import metrics
from gateway.identity import Identity
from gateway.keys import Keys, KeysMissing
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from gateway.tokens import BadToken
from protocol import subjects
from protocol.commands import Answer, RedeemTicket, TicketIdentity

log = logs.get(__name__)

COOKIE = "parley_token"
TICKET_PROTOCOL = "ticket."
MAX_TICKET = 128
POLICY_VIOLATION = 1008


class Authenticator:
    """Judges credentials for this process."""

    def __init__(self, settings: GatewaySettings, keys: Keys, revocations: Revocations, bus: Bus) -> None:
        self._origins = frozenset(settings.origins)
        self._keys = keys
        self._revocations = revocations
        self._bus = bus

    def origin_allowed(self, origin: str | None) -> bool:
        """Tell whether a page of `origin` may talk to us; exact comparison (ASVS 4.4.2)."""
        return origin in self._origins

    async def by_token(self, token: str) -> Identity | None:
        """Return who an access token speaks for, or None; raise `KeysMissing` when that cannot be told yet."""
        try:
            identity = await self._keys.identify(token)
        except BadToken as error:
            log.info("token refused", reason=str(error))
            return None
        return None if self._revocations.ended(identity) else identity

    async def by_ticket(self, ticket: str) -> Identity | None:
        """Return who made a ticket, using it up, or None; raise `KeysMissing` when the auth service cannot be asked."""
        if not ticket or len(ticket) > MAX_TICKET or not ticket.isascii():
            return None
        try:
            message = await self._bus.request(subjects.REDEEM_TICKET, msgspec.json.encode(RedeemTicket(ticket)))
            answer = msgspec.json.decode(message.body, type=Answer)
        except (Unavailable, TooLarge, msgspec.DecodeError) as error:
            log.warning("ticket not redeemed", reason=type(error).__name__)
            raise KeysMissing from error
        if answer.refusal is not None:
            if answer.refusal.temporary:
                raise KeysMissing  # busy or without its database: nothing is known of the ticket
            return None
        found = msgspec.json.decode(answer.result, type=TicketIdentity)
        identity = Identity(
            found.user.id, found.user.name, found.session, found.expires_at, bans=found.bans, key=found.key
        )
        return None if self._revocations.ended(identity) else identity


def ticket_protocol(connection: HTTPConnection) -> str | None:
    """Return the offered subprotocol that carries a ticket, or None."""
    offered: list[str] = connection.scope.get("subprotocols") or []
    return next((one for one in offered if one.startswith(TICKET_PROTOCOL)), None)


def _refuse(connection: HTTPConnection, status: int, reason: str) -> NoReturn:
    """End the request or the handshake; before accept a WebSocket's client sees HTTP 403 and no more."""
    metrics.refused.labels(reason).inc()
    if connection.scope["type"] == "websocket":
        raise WebSocketException(POLICY_VIOLATION, reason)
    raise HTTPException(status, reason.replace("_", " "))


async def allowed_origin(
    connection: HTTPConnection, origin: Annotated[str | None, Header(include_in_schema=False)] = None
) -> bool:
    """Refuse a foreign Origin; return whether the caller named an allowed one (programs name none)."""
    authenticator: Authenticator = connection.app.state.authenticator
    if origin is not None and not authenticator.origin_allowed(origin):
        _refuse(connection, 403, "foreign_origin")
    return origin is not None


async def optional_identity(
    connection: HTTPConnection,
    from_page: Annotated[bool, Depends(allowed_origin)],
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
    cookie: Annotated[str | None, Cookie(alias=COOKIE, include_in_schema=False)] = None,
    ticket: Annotated[str | None, Query(include_in_schema=False)] = None,
) -> Identity | None:
    """Return who the credentials speak for, or None without any; wrong ones are refused."""
    authenticator: Authenticator = connection.app.state.authenticator
    offered = ticket_protocol(connection)
    if offered is not None:
        ticket = offered.removeprefix(TICKET_PROTOCOL)
    scheme, _, bearer = (authorization or "").partition(" ")
    try:
        if authorization is not None:
            identity = await authenticator.by_token(bearer.strip()) if scheme.lower() == "bearer" else None
        elif ticket is not None:
            identity = await authenticator.by_ticket(ticket)
        elif cookie is not None and from_page:
            identity = await authenticator.by_token(cookie)
        else:
            return None
    except KeysMissing:
        _refuse(connection, 503, "unavailable")
    if identity is None:
        _refuse(connection, 401, "invalid_ticket" if authorization is None and ticket is not None else "invalid_token")
    return identity


async def require_identity(
    connection: HTTPConnection, identity: Annotated[Identity | None, Depends(optional_identity)]
) -> Identity:
    """Return who the credentials speak for; a request without any is refused."""
    if identity is None:
        _refuse(connection, 401, "no_credentials")
    return identity
