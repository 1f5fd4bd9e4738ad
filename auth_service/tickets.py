"""Tickets: one-use credentials for clients that can only set a URL. Made over HTTP, redeemed by gateways over NATS."""

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec

from auth_service import metrics
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from auth_service.tokens import Claims
from chassis import logs
from chassis.bus import Respond
from chassis.database import DatabaseUnavailable
from chassis.lifecycle import Background
from protocol import codes
from protocol.commands import Answer, RedeemTicket, Refusal, TicketIdentity
from protocol.events import User

log = logs.get(__name__)

_LONGEST = 128


class Tickets:
    """Makes tickets, and redeems each for one caller."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        background: Background,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._background = background
        self._clock = clock
        self._redeeming = 0

    async def issue(self, claims: Claims) -> str:
        """Return a new ticket for the bearer of an access token that says `claims`."""
        ticket = secrets.token_urlsafe(32)
        await self._sessions.add_ticket(ticket, claims.session, claims.expires_at, claims.key, self._clock())
        metrics.tickets.labels("issued").inc()
        return ticket

    def serve(self, body: bytes, respond: Respond) -> None:
        """Answer a redeem request; returns at once, since the bus reads nothing else meanwhile."""
        try:
            asked = msgspec.json.decode(body, type=RedeemTicket)
        except (msgspec.DecodeError, msgspec.ValidationError):
            respond(_refused(codes.BAD_REQUEST))
            return
        if self._redeeming >= self._settings.auth_ticket_redeeming:
            metrics.tickets.labels("unavailable").inc()
            respond(_refused(codes.UNAVAILABLE))
            return
        self._redeeming += 1
        self._background.spawn(self._serve(asked.ticket, respond)).add_done_callback(self._done)

    def _done(self, _: asyncio.Task[None]) -> None:
        self._redeeming -= 1

    async def _serve(self, ticket: str, respond: Respond) -> None:
        try:
            async with asyncio.timeout(self._settings.auth_ticket_redeem_seconds):
                answer = await self._redeem(ticket)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("no redeeming", reason=str(error) or type(error).__name__)
            metrics.tickets.labels("unavailable").inc()
            answer = _refused(codes.UNAVAILABLE)
        respond(answer)

    async def _redeem(self, ticket: str) -> bytes:
        found = await self._sessions.take_ticket(ticket, self._clock()) if len(ticket) <= _LONGEST else None
        if found is None:
            metrics.tickets.labels("refused").inc()
            return _refused(codes.UNAUTHORIZED)
        session, expires_at, key = found
        identity = TicketIdentity(User(session.user, session.name), session.id, expires_at, key, session.bans)
        metrics.tickets.labels("redeemed").inc()
        return msgspec.json.encode(Answer(result=msgspec.Raw(msgspec.json.encode(identity))))


def _refused(code: codes.ErrorCode) -> bytes:
    return msgspec.json.encode(Answer(refusal=Refusal.of(code)))
