"""The signing keys the auth service publishes, fetched over HTTP from the one address in our settings."""

import asyncio
import contextlib
import ssl
import time

import httpx
import jwt

from chassis import logs
from gateway import metrics
from gateway.identity import Identity
from gateway.settings import GatewaySettings
from gateway.tokens import ExpiredToken, Rules, UnknownKey, keys_of, verify

log = logs.get(__name__)

RETRY_SECONDS = 0.5
MAX_DOCUMENT_BYTES = 65536


class KeysMissing(Exception):
    """No keys could be fetched yet, so nobody can be let in or turned away for good."""


class Keys:
    """A cache of verification keys. Known keys cost no network, unknown ones at most one fetch an interval."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._withdrawn: set[str] = set()
        self._wanted = asyncio.Event()
        self._fetched = -settings.jwks_minimum_seconds
        self._lock = asyncio.Lock()
        self._trusted = ssl.create_default_context()  # reading the authorities takes longer than a turn may
        self._rules = Rules(
            settings.auth_issuer,
            settings.auth_audience,
            settings.token_max_seconds,
            settings.token_leeway_seconds,
            settings.hmac_secret,
            settings.token_issuer,
            settings.token_audience,
            settings.previous_secret,
            settings.anonymous_allowed,
        )

    async def ready(self) -> str | None:
        """Health check: None when there is at least one key."""
        return None if self._keys else "no signing keys from the auth service yet"

    async def identify(self, token: str) -> Identity:
        """Return who `token` speaks for; raise `BadToken` (and kinds), or `KeysMissing` before the first fetch."""
        try:
            return verify(token, self._keys, self._rules)
        except UnknownKey as unknown:
            if unknown.key in self._withdrawn:
                raise ExpiredToken("key withdrawn") from None
            await self._fetch_for_unknown()
            if not self._keys:
                raise KeysMissing from None
        # Also when this call fetched nothing: the keys may have come by another meanwhile.
        return verify(token, self._keys, self._rules)

    def is_withdrawn(self, key: str) -> bool:
        """Tell whether the key with that id was declared compromised."""
        return key in self._withdrawn

    def withdraw(self, key: str) -> None:
        """Never again accept what that key signed, whoever still publishes it; look for its successor at once."""
        if key not in self._withdrawn:
            self._withdrawn.add(key)
            self._keys.pop(key, None)
            self._wanted.set()
            log.warning("signing key withdrawn", kid=key)

    async def keep_fresh(self) -> None:
        """Fetch now and then again and again, so that new keys are here before they sign. Runs for ever."""
        while True:
            self._wanted.clear()
            fetched = await self._fetch()
            seconds = self._settings.jwks_refresh_seconds if fetched else RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), seconds)

    async def _fetch_for_unknown(self) -> None:
        async with self._lock:
            if time.monotonic() - self._fetched >= self._settings.jwks_minimum_seconds:
                await self._fetch()

    async def _fetch(self) -> bool:
        timeout = self._settings.jwks_timeout_seconds
        try:
            async with httpx.AsyncClient(
                timeout=timeout, follow_redirects=False, trust_env=False, verify=self._trusted
            ) as client:
                answer = await asyncio.wait_for(client.get(self._settings.keys_url), timeout)
            if answer.status_code != 200 or len(answer.content) > MAX_DOCUMENT_BYTES:
                raise ValueError(f"status {answer.status_code}")
            keys = keys_of(answer.json())
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            metrics.key_fetches.labels("failed").inc()
            log.debug("signing keys not fetched", error=type(error).__name__)
            return False
        metrics.key_fetches.labels("ok").inc()
        # A replica of the auth service, or a cache, may be behind; a key that is known is known for ever.
        keys = {name: key for name, key in keys.items() if name not in self._withdrawn}
        self._fetched = time.monotonic()
        if keys.keys() != self._keys.keys():
            log.info("signing keys changed", count=len(keys))
        self._keys = keys or self._keys
        return bool(keys)
