"""Passwords: the rule for new ones, and argon2id in a bounded pool of threads (the only importer of `argon2`)."""

import asyncio
import secrets
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from auth_service import metrics, refusals
from auth_service.settings import Settings

T = TypeVar("T")

# The most used passwords of eight characters and more in published lists of leaks; shorter ones are refused anyway.
_MOST_USED = """
12345678 123456789 1234567890 12341234 11111111 00000000 88888888 87654321 987654321 0987654321 123123123
1122334455 147258369 12345678910 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qaz2wsx3edc qwertyui qwertyuiop qwerty12
qwerty123 qwerty1234 qwer1234 asdfghjk asdfghjkl asdf1234 zxcvbnm1 zaq12wsx abcdefgh abcd1234 abc12345
a1234567 a12345678 aa123456 aa12345678 password password1 password12 password123 password! passw0rd
p@ssw0rd p@ssword pass1234 pa55word iloveyou iloveyou1 princess princess1 sunshine sunshine1 football
football1 baseball basketball superman batman123 starwars pokemon1 dragon123 monkey123 michelle jennifer
jessica1 charlie1 ashley123 welcome1 welcome123 letmein1 letmein123 trustno1 whatever computer internet
samsung1 google123 changeme changeme1 changeme123 secret123 admin123 admin1234 administrator root1234
test1234 testtest default1 user1234 guest1234 master123 shadow123 freedom1 corvette mercedes maverick
midnight blink182 liverpool chelsea1 arsenal1 barcelona hello123 loveme123 99999999 66666666 12121212
11223344 55555555 77777777 22222222 13131313 789456123 password1234
"""
_COMMON = frozenset(_MOST_USED.split())


class BadPassword(ValueError):
    """The password may not be chosen; the text says why, without the password."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password was right, and whether its hash was made with other parameters than ours now."""

    right: bool
    outdated: bool = False


def normalise(password: str) -> str:
    """Return the one form of a password that keyboards compose in several ways (NFC); nothing is cut off."""
    return unicodedata.normalize("NFC", password)


def check_new(settings: Settings, password: str, username: str) -> None:
    """Raise `BadPassword` unless the normalised `password` may be chosen (OWASP ASVS 5.0, 6.2)."""
    if not settings.auth_password_min <= len(password) <= settings.auth_password_max:
        raise BadPassword(f"password: {settings.auth_password_min} to {settings.auth_password_max} characters")
    if not fits(settings, password):
        raise BadPassword(f"password: valid text of at most {settings.auth_password_bytes} bytes")
    if password.lower() in _COMMON or password.lower() == username:
        raise BadPassword("password: too common, or the same as the username")


def fits(settings: Settings, password: str) -> bool:
    """Tell whether `password` is encodable and small enough to be hashed at all."""
    try:
        return len(password.encode()) <= settings.auth_password_bytes
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
        return False


class Passwords:
    """Hashes and checks, a few at a time; refuses with 503 when more wait than the queue holds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hasher = PasswordHasher(
            time_cost=settings.auth_argon2_passes,
            memory_cost=settings.auth_argon2_memory_kib,
            parallelism=settings.auth_argon2_lanes,
        )
        self._threads = ThreadPoolExecutor(settings.auth_argon2_running, thread_name_prefix="argon2")
        self._inside = 0
        # Checked in place of an account that does not exist, so that the answer takes as long.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def close(self) -> None:
        """End the threads after the hashes they compute."""
        self._threads.shutdown(cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of `password`."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Compare `password` with the hash `stored`; None costs as much and is never right."""
        return await self._run(lambda: self._verify(stored, password))

    def _verify(self, stored: str | None, password: str) -> Verdict:
        try:
            self._hasher.verify(stored or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return Verdict(right=False)
        return Verdict(stored is not None, stored is not None and self._hasher.check_needs_rehash(stored))

    async def _run(self, work: Callable[[], T]) -> T:
        settings = self._settings
        if self._inside >= settings.auth_argon2_running + settings.auth_argon2_queue:
            metrics.hash_overflows.inc()
            raise refusals.unavailable(settings.auth_busy_retry_seconds)
        self._count(+1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, _timed, work)
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        self._inside += step
        metrics.hash_waiting.set(max(0, self._inside - self._settings.auth_argon2_running))


def _timed(work: Callable[[], T]) -> T:
    started = time.perf_counter()
    try:
        return work()
    finally:
        metrics.hash_duration.observe(time.perf_counter() - started)
