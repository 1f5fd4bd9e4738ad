"""Signing in and staying so: what each endpoint means, from names and passwords to tokens."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from auth_service import metrics, names, passwords, refusals, tokens
from auth_service.accounts import Account, AccountChanged, Accounts, UsernameTaken
from auth_service.keyring import Keyring
from auth_service.limits import Turns
from auth_service.passwords import BadPassword, Passwords
from auth_service.revocations import Revocations
from auth_service.sessions import Banned, Session, Sessions, TokenReused, UnknownToken
from auth_service.settings import Settings
from auth_service.tokens import Claims, InvalidToken
from chassis import logs
from chassis.app import Problem

log = logs.get(__name__)

LOGOUT = "logout"
CHANGED = "password_changed"
TRIES = 3
"""How often a sign-in is judged anew because the account was changed under it."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a client gets to work with; `expires_in` is the access token's life in seconds."""

    user: str
    name: str
    access_token: str
    expires_in: int
    refresh_token: str


class Login:
    """The rules of signing in. Refusals are those of `refusals.py`; `DatabaseUnavailable` passes through."""

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        sessions: Sessions,
        hashes: Passwords,
        keyring: Keyring,
        revocations: Revocations,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = hashes
        self._keyring = keyring
        self._revocations = revocations
        self._clock = clock
        self._turns = Turns(settings.auth_attempts_waiting)

    async def register(self, username: str, password: str) -> SignedIn:
        """Make an account and sign it in."""
        password = passwords.normalise(password)
        try:
            folded = names.fold_username(username)
            passwords.check_new(self._settings, password, folded)
        except (names.BadName, BadPassword) as error:
            raise refusals.invalid_request(str(error)) from None
        if await self._accounts.by_username(folded) is not None:  # saves the hash
            raise refusals.username_taken()
        password_hash = await self._passwords.hash(password)
        try:
            account = await self._accounts.create(folded, username, password_hash, self._clock())
        except UsernameTaken:
            raise refusals.username_taken() from None
        log.info("account made", user=account.id)
        return await self._open(account)

    async def login(self, username: str, password: str) -> SignedIn:
        """Sign an account in; names that nobody has get the same answers in the same time.

        When the account gets another password or is banned between the proof and the session, the proof is asked again.
        """
        for _ in range(TRIES):
            _, account = await self._proved(username, password)
            try:
                return await self._begin(account)
            except AccountChanged:
                log.info("account changed while signing in", user=account.id)
        raise self._busy()

    async def change_password(self, username: str, password: str, new_password: str) -> SignedIn:
        """Replace the password of who proves to know it; end every session of before, and open a new one."""
        folded, account = await self._proved(username, password)
        new_password = passwords.normalise(new_password)
        try:
            passwords.check_new(self._settings, new_password, folded)
        except BadPassword as error:
            raise refusals.invalid_request(str(error)) from None
        stored = await self._passwords.hash(new_password)
        try:
            ended = await self._sessions.replace_password(account, stored, CHANGED, self._clock())
        except AccountChanged:  # by another change: then this password is the old one now, which a retry is told
            raise self._busy() from None
        self._revocations.wake()
        log.info("password changed", user=account.id, count=ended)
        return await self._open(replace(account, password_hash=stored))

    async def _proved(self, username: str, password: str) -> tuple[str, Account]:
        """Return the folded name and the account of who knows its password; back off from who guesses."""
        try:
            folded = names.fold_username(username)
        except names.BadName:
            folded = ""  # no account has it
        async with self._turns.take(folded):
            wait = await self._accounts.blocked_for(folded, self._clock())
            if wait > 0:
                metrics.backoffs.inc()
                raise refusals.too_many_requests(math.ceil(wait))
            return folded, await self._checked(folded, passwords.normalise(password))

    async def guest(self, name: str) -> SignedIn:
        """Sign somebody in who has only a name."""
        try:
            shown = names.guest_name(name)
        except names.BadName as error:
            raise refusals.invalid_request(str(error)) from None
        return await self._open(await self._accounts.create_guest(shown, self._clock()))

    async def refresh(self, refresh_token: str) -> SignedIn:
        """Exchange a refresh token for the next one and a new access token."""
        try:
            session, successor = await self._sessions.rotate(refresh_token, self._clock())
        except UnknownToken:
            raise refusals.invalid_token() from None
        except Banned:
            raise refusals.account_banned() from None
        except TokenReused:
            metrics.refresh_reuses.inc()
            self._revocations.wake()
            raise refusals.refresh_reused() from None
        claims = Claims(session.user, session.id, session.name, int(session.expires_at), session.bans)
        return self._signed_in(claims, successor)

    async def logout(self, refresh_token: str) -> None:
        """End the session of a refresh token; one that has ended, or never was, is no mistake (RFC 7009, 2.2)."""
        if await self._sessions.revoke_by_token(refresh_token, LOGOUT, self._clock()):
            self._revocations.wake()

    async def logout_bearer(self, claims: Claims) -> None:
        """End the session of an access token."""
        if await self._sessions.revoke(claims.session, LOGOUT, self._clock()):
            self._revocations.wake()
            log.info("session revoked", session=claims.session, reason=LOGOUT)

    async def bearer(self, access_token: str) -> tuple[Claims, Session]:
        """Return what a good access token says, and its session, which has not ended."""
        now = self._clock()
        try:
            claims = tokens.verify(self._settings, self._keyring.published(), access_token, now)
        except InvalidToken as error:
            metrics.tokens_refused.inc()
            log.debug("access refused", reason=str(error))
            raise refusals.invalid_token() from None
        session = await self._sessions.live(claims.session, now)
        if session is None or session.user != claims.user:
            raise refusals.invalid_token()
        return claims, session

    async def _checked(self, folded: str, password: str) -> Account:
        account = await self._accounts.by_username(folded)
        if not passwords.fits(self._settings, password):
            password = ""  # never hashed: a wrong one that costs the same as any
        stored = account.password_hash if account is not None else None
        verdict = await self._passwords.verify(stored, password)
        if account is None or not verdict.right:
            await self._accounts.failed(folded, self._clock())
            raise refusals.invalid_credentials()
        await self._accounts.forget_failures(folded)
        if account.banned:
            raise refusals.account_banned()
        if verdict.outdated:
            newer = await self._passwords.hash(password)
            await self._accounts.set_password_hash(account, newer)
            account = replace(account, password_hash=newer)
        return account

    async def _open(self, account: Account) -> SignedIn:
        """Begin a session of an account that was made or changed a moment ago."""
        try:
            return await self._begin(account)
        except AccountChanged:
            raise self._busy() from None

    async def _begin(self, account: Account) -> SignedIn:
        """Begin a session; raise `AccountChanged` when `account` is not any more as it was read."""
        now = self._clock()
        session, refresh_token = await self._sessions.open(account, now)
        until = int(now + self._settings.auth_session_seconds)
        log.info("session opened", user=account.id, session=session, guest=account.guest)
        return self._signed_in(Claims(account.id, session, account.name, until, account.bans), refresh_token)

    def _signed_in(self, claims: Claims, refresh_token: str) -> SignedIn:
        """Return what the client gets; `claims` are to end with the session, or sooner."""
        key = self._keyring.current()
        if key is None:
            raise self._busy()
        now = self._clock()
        expires_at = min(int(now + self._settings.auth_access_seconds), claims.expires_at)
        access_token = tokens.issue(self._settings, key, replace(claims, expires_at=expires_at), now)
        metrics.tokens_issued.inc()
        return SignedIn(claims.user, claims.name, access_token, expires_at - int(now), refresh_token)

    def _busy(self) -> Problem:
        return refusals.unavailable(self._settings.auth_busy_retry_seconds)
