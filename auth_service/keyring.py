"""The signing keys: made at first start, kept in the database, rotated, published.

A ring is a list of generations 1, 2, 3 ... Their order and times say everything: the *current* key is the newest whose
time to sign has come, a younger one is *next*, the older ones are *retired*. The generation is the table's primary
key, so of two replicas that add the same one, one finds it taken and reads what the other made.
"""

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from auth_service import metrics, models, outbox
from auth_service.settings import Settings
from chassis import logs
from chassis.database import Database, DatabaseUnavailable
from protocol.names import new_id

log = logs.get(__name__)

COMPROMISED = "key_compromised"
TRIES = 3
"""How often a ring is replaced that another replica changes at the same time."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key pair; signs from `signs_from` (seconds since the epoch) until its successor does."""

    generation: int
    kid: str
    private: Ed25519PrivateKey
    signs_from: float

    def jwk(self) -> dict[str, str]:
        """Return the public half as a JSON Web Key (RFC 8037)."""
        raw = self.private.public_key().public_bytes_raw()
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x}


@dataclass(frozen=True, slots=True)
class Ring:
    """All keys, oldest first, as they were read from the database."""

    keys: tuple[Key, ...] = ()

    def current(self, now: float) -> Key | None:
        """Return the key that signs at `now`; None for an empty ring."""
        signing = [key for key in self.keys if key.signs_from <= now]
        # A clock behind that of the maker of the first key must not find a ring without a key.
        return signing[-1] if signing else next(iter(self.keys), None)

    def next(self, now: float) -> Key | None:
        """Return the key that is published and does not sign yet; None when there is none."""
        current = self.current(now)
        return next((key for key in self.keys if current and key.generation > current.generation), None)

    def published(self, now: float, keep: float) -> tuple[Key, ...]:
        """Return next, current, and the keys retired less than `keep` seconds ago."""
        ends = [*(key.signs_from for key in self.keys[1:]), float("inf")]
        return tuple(key for key, end in zip(self.keys, ends, strict=False) if end + keep > now)

    def due(self, now: float, life: float, prepublish: float) -> bool:
        """Tell whether the successor has to be published now, so that the current key signs for `life` seconds."""
        current = self.current(now)
        return current is not None and self.next(now) is None and now >= current.signs_from + life - prepublish


class Keyring:
    """The ring as this replica last read it."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._keep = float(settings.auth_revocation_seconds)
        self.ring = Ring()

    async def ready(self) -> str | None:
        """Health check: None when there is a key to sign with."""
        return None if self.ring.keys else "no signing key yet"

    def current(self) -> Key | None:
        """Return the key that signs now; None before the first `load`."""
        return self.ring.current(self._clock())

    def published(self) -> tuple[Key, ...]:
        """Return the keys that may have signed a token that is still good, or soon will."""
        return self.ring.published(self._clock(), self._keep)

    async def load(self) -> None:
        """Read the ring, making the first key when there is none; raise `DatabaseUnavailable`."""
        self.ring = await self._read()
        if not self.ring.keys:
            await self._add(1, self._clock())  # nobody can have cached anything yet: it signs at once
        current = self.current()
        if current is not None:
            metrics.key_age.set(max(0.0, self._clock() - current.signs_from))

    async def rotate(self) -> Key:
        """Add the next key unless there is one, and return it."""
        await self.load()
        now = self._clock()
        waiting = self.ring.next(now)
        if waiting is not None:
            return waiting
        await self._add(self.ring.keys[-1].generation + 1, now + self._settings.auth_key_prepublish_seconds)
        return self.ring.keys[-1]

    async def replace_all(self) -> Key:
        """Have a new key sign at once and withdraw all others, for they may be known; return the new one.

        What the others signed ends: gateways are told each of them, and tickets made with such tokens are forgotten.
        """
        for _ in range(TRIES):
            await self.load()
            newest = self.ring.keys[-1].generation
            try:
                gone = await self._withdraw(newest)
            except IntegrityError:  # another replica added that generation: withdraw its key as well
                continue
            self.ring = await self._read()
            log.warning("signing keys withdrawn", count=len(gone), kid=self.ring.keys[-1].kid)
            return self.ring.keys[-1]
        raise DatabaseUnavailable("others changed the ring each time")

    async def _withdraw(self, newest: int) -> list[str]:
        keys, tickets, now = models.keys.c, models.tickets, self._clock()
        old = delete(models.keys).where(keys.generation <= newest).returning(keys.kid)
        async with self._database.begin() as connection:
            await connection.execute(insert(models.keys).values(self._new_row(newest + 1, now)))
            gone = list((await connection.execute(old)).scalars())
            for kid in gone:
                await outbox.announce_key(connection, kid, COMPROMISED, now)
            await connection.execute(delete(tickets).where(tickets.c.kid.in_([*gone, ""])))
        return gone

    async def keep(self) -> None:
        """Read the ring again and again, and rotate by age; for as long as the service lives."""
        settings = self._settings
        while True:
            await asyncio.sleep(settings.auth_key_reload_seconds)
            try:
                await self.load()
                if self.ring.due(self._clock(), settings.auth_key_seconds, settings.auth_key_prepublish_seconds):
                    await self.rotate()
                await self._forget_retired()
            except DatabaseUnavailable as error:  # the ring in memory serves on
                log.warning("key ring not read", reason=str(error))

    async def _read(self) -> Ring:
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(models.keys).order_by(models.keys.c.generation))).all()
        return Ring(tuple(Key(row.generation, row.kid, _load(row.private_pem), row.signs_from) for row in rows))

    async def _add(self, generation: int, signs_from: float) -> None:
        row = self._new_row(generation, signs_from)
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(models.keys).values(row))
            log.info("signing key made", kid=row["kid"], generation=generation)
        except IntegrityError:
            log.info("another replica made that key first", generation=generation)
        self.ring = await self._read()

    def _new_row(self, generation: int, signs_from: float) -> dict[str, Any]:
        return {
            "generation": generation,
            "kid": new_id(),
            "private_pem": _dump(Ed25519PrivateKey.generate()),
            "created_at": self._clock(),
            "signs_from": signs_from,
        }

    async def _forget_retired(self) -> None:
        oldest = min((key.generation for key in self.published()), default=0)
        if self.ring.keys and self.ring.keys[0].generation < oldest:
            async with self._database.begin() as connection:
                await connection.execute(delete(models.keys).where(models.keys.c.generation < oldest))
            self.ring = await self._read()


def _dump(key: Ed25519PrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _load(pem: str) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("the key ring holds a key that is not Ed25519")
    return key
