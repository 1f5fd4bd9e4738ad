"""TLS of the connection to NATS: whom we trust, what we refuse, and what an operator is told of it.

nats-py upgrades a connection only if the server says that it wants TLS, whatever the URL says, and sends the password
either way (tried with 2.16.0). So `require` stands between: what must be encrypted is not begun otherwise.
"""

import asyncio
import ssl
import time

from chassis import logs
from chassis.settings import Settings

log = logs.get(__name__)

SAY_AGAIN_SECONDS = 30.0
"""How often the same refusal is logged; attempts come four times a second."""
RETRY_SECONDS = 2.0


class NotEncrypted(ConnectionError):
    """The server does not offer TLS, and it must."""

    def __str__(self) -> str:
        return "the server does not offer TLS"


class Encryption:
    """What the connection is held to. `why` the last attempt was refused; "" when that had nothing to do with TLS."""

    def __init__(self, settings: Settings) -> None:
        self.why = ""
        self._wanted = settings.nats_tls
        self._authorities = settings.nats_ca_file
        self._context: ssl.SSLContext | None = None
        self._said = ("", 0.0)

    async def trusted(self) -> ssl.SSLContext | None:
        """Return who is trusted: the authorities of the file alone, as soon as it can be read; None without TLS."""
        while self._wanted and self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._authorities)
            except (OSError, ssl.SSLError) as error:
                self._say(f"NATS_CA_FILE cannot be used: {_reason(error)}")
                await asyncio.sleep(RETRY_SECONDS)
        return self._context

    def require(self, encrypted: bool) -> None:
        """Raise `NotEncrypted` when TLS is wanted and the connection is not `encrypted`."""
        if self._wanted and not encrypted:
            raise NotEncrypted

    def made(self) -> None:
        """Forget what was wrong: a connection was made."""
        self.why = ""
        self._said = ("", 0.0)

    def failed(self, error: Exception) -> None:
        """Note why an attempt failed, if it is about TLS; the file may have changed, so it is read again."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self._say(f"its certificate is refused: {error.verify_message}")
            self._read_again()
        elif isinstance(error, (ssl.SSLError, NotEncrypted)):
            self._say(_reason(error))

    def _read_again(self) -> None:
        if self._context is not None and self._authorities is not None:
            try:
                self._context.load_verify_locations(self._authorities)
            except (OSError, ssl.SSLError) as error:
                log.warning("NATS_CA_FILE cannot be read again", reason=_reason(error))

    def _say(self, why: str) -> None:
        self.why = why
        said, at = self._said
        if why != said or time.monotonic() - at > SAY_AGAIN_SECONDS:
            self._said = (why, time.monotonic())
            log.error("no TLS connection to NATS", reason=why)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or getattr(error, "strerror", "") or error)[:200]
