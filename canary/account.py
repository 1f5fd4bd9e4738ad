"""Who the canary is to the auth service: a guest or an account, with a token that is good whenever one is asked for."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable

import httpx

from canary import metrics
from canary.settings import Settings
from chassis import logs

log = logs.get(__name__)

CREDENTIALS_SECONDS = 30.0
"""Pause after a wrong password: each try makes the account back off for longer, and nothing gets better by itself."""
BUSY_SECONDS = 2.0
LONGEST_PAUSE = 60.0
USERS_KEPT = 8
"""How many of the canary's own user ids are remembered; a guest whose session is gone becomes another one."""
SIGN_OUT_SECONDS = 1.5
LONGEST_DETAIL = 300


class SignInFailed(Exception):
    """No token just now; the text is the reason, one of `metrics.SIGN_IN_FAILURES`."""


def trusted() -> ssl.SSLContext:
    """Return what HTTPS and WSS are checked with: the usual authorities, or those of SSL_CERT_FILE."""
    return httpx.create_ssl_context()


class Account:
    """One session of the auth service, shared by all connections of the canary."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._http = httpx.AsyncClient(verify=tls, trust_env=False, timeout=settings.canary_answer_seconds)
        self._turn = asyncio.Lock()
        self._access = self._refresh = ""
        self._renew_at = 0.0
        self._not_before = 0.0
        self._reason = ""
        self.users: deque[str] = deque(maxlen=USERS_KEPT)

    @property
    def guest(self) -> bool:
        """Whether this is a guest, whom nobody needs after the end."""
        return not self._settings.canary_username

    async def token(self) -> str:
        """Return an access token with at least half of its life before it; raise `SignInFailed`."""
        async with self._turn:
            if self._access and self._clock() < self._renew_at:
                return self._access
            if self._clock() < self._not_before:
                raise SignInFailed(self._reason)
            try:
                await self._renew()
            except SignInFailed as failed:
                metrics.sign_in_failures.labels(str(failed)).inc()
                raise
            return self._access

    def doubt(self, token: str) -> None:
        """Have the next token be a new one if the newest is `token`, which a gateway did not take."""
        if token == self._access:
            self._renew_at = 0.0

    def forget(self, token: str) -> None:
        """Have the next token be of a new session if the newest is `token`, whose session has ended."""
        if token == self._access:
            self._access = self._refresh = ""

    async def sign_out(self) -> None:
        """End the session, if that works at once, and be done."""
        try:
            if self._refresh:
                body = {"refresh_token": self._refresh}
                await self._http.post(f"{self._settings.auth_url}/logout", json=body, timeout=SIGN_OUT_SECONDS)
        except httpx.HTTPError as error:
            log.info("not signed out", error=type(error).__name__)
        finally:
            await self._http.aclose()

    async def _renew(self) -> None:
        if self._refresh:
            answer = await self._ask("refresh", refresh_token=self._refresh)
            if answer.status_code != 401:
                self._take(answer)
                return
            self._access = self._refresh = ""
            log.warning("the session has ended, signing in anew")
        self._take(await self._sign_in())

    async def _sign_in(self) -> httpx.Response:
        settings = self._settings
        if self.guest:
            return await self._ask("guest", name="Canary")
        words = {"username": settings.canary_username, "password": settings.canary_password.get_secret_value()}
        answer = await self._ask("login", **words)
        if answer.status_code != 401:
            return answer
        # The same answer for no such account and for a wrong password: only registering tells.
        registered = await self._ask("register", **words)
        return answer if registered.status_code == 409 else registered

    async def _ask(self, what: str, **body: str) -> httpx.Response:
        try:
            async with asyncio.timeout(self._settings.canary_answer_seconds):
                return await self._http.post(f"{self._settings.auth_url}/{what}", json=body)
        except (httpx.HTTPError, TimeoutError):
            raise self._pause("unreachable", BUSY_SECONDS) from None

    def _take(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            raise self._failed(answer)
        try:
            body = answer.json()
            access, refresh, user = body["access_token"], body["refresh_token"], body["user"]["id"]
            self._renew_at = self._clock() + body["expires_in"] / 2
        except (ValueError, KeyError, TypeError):  # something else answers at that address
            raise self._failed(answer) from None
        self._access, self._refresh = access, refresh
        if user not in self.users:
            self.users.append(user)
            log.info("signed in", user=user, guest=self.guest)

    def _failed(self, answer: httpx.Response) -> SignInFailed:
        status = answer.status_code
        if status == 401:
            return self._pause("credentials", CREDENTIALS_SECONDS)
        if status == 429:
            asked = answer.headers.get("Retry-After", "")
            return self._pause("too_many_requests", float(asked) if asked.isdigit() else BUSY_SECONDS)
        if status >= 500:
            return self._pause("unavailable", BUSY_SECONDS)
        log.error("sign-in refused", status=status, detail=answer.text[:LONGEST_DETAIL])
        return self._pause("refused", CREDENTIALS_SECONDS)

    def _pause(self, reason: str, seconds: float) -> SignInFailed:
        self._not_before = self._clock() + min(seconds, LONGEST_PAUSE)
        self._reason = reason
        log.warning("cannot sign in", reason=reason, seconds=round(min(seconds, LONGEST_PAUSE), 1))
        return SignInFailed(reason)
