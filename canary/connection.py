"""One connection on the official SDK that comes back whatever ended it, and the ways in which a call fails."""

import asyncio
import json
import ssl
from collections.abc import Collection
from typing import Any

from centrifuge import (  # type: ignore[import-untyped]  # ships no types
    CentrifugeError,
    Client,
    ClientEventHandler,
    ClientState,
    OperationTimeoutError,
    ReplyError,
)

from canary import metrics
from canary.account import Account
from canary.settings import Settings
from chassis import logs

log = logs.get(__name__)

LONGEST_PAUSE = 5.0
"""Between attempts to connect; a user's client waits longer, but we are here to look."""
ENDED_PAUSE = 2.0
"""Before connecting again after an end that is meant for good (token not taken, session revoked, process full)."""
LEFT = 0
"""The SDK's code for an end that we asked for."""
SESSION_ENDS = (1, 3500, 4501, 4503)
"""Ends after which another token would help as little: unauthorised, invalid token, session revoked, account banned."""
TOKEN_EXPIRED = 109
NOT_IN = "no_room"
"""The reason when there is no such room, or we are not a member."""
REASONS = {
    503: "unavailable",
    100: "internal",
    111: "too_many_requests",
    103: NOT_IN,
    403: NOT_IN,
    404: NOT_IN,
}
"""Error codes (docs/protocol.md) to reasons; all others are `refused`."""


class Failed(Exception):
    """A call was not answered, or answered no; `final` when it need not be repeated as it is.

    The text is the reason, one of `metrics.SEND_FAILURES`.
    """

    def __init__(self, reason: str, final: bool = False, code: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.code = code


class Connection(ClientEventHandler):  # type: ignore[misc]  # ships no types
    """A client of the SDK with our token, in JSON or Protobuf."""

    def __init__(
        self, name: str, settings: Settings, account: Account, tls: ssl.SSLContext, protobuf: bool = False
    ) -> None:
        self.name = name
        self.protobuf = protobuf
        self.away = False
        """Whether it is not connected because it was told to leave."""
        self._account = account
        self._answer_seconds = settings.canary_answer_seconds
        self._ended = asyncio.Event()
        self._was_connected = False
        self._token = ""
        self.client = Client(
            settings.websocket_url,
            events=self,
            get_token=self._new_token,
            use_protobuf=protobuf,
            timeout=settings.canary_answer_seconds,
            name=name,
            max_reconnect_delay=LONGEST_PAUSE,
            ssl_context=tls if settings.websocket_url.startswith("wss:") else None,
            proxy=None,
        )

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        return bool(self.client.state is ClientState.CONNECTED)

    @property
    def users(self) -> Collection[str]:
        """The ids of all whom we have been: messages of others are not ours."""
        return self._account.users

    async def enter(self) -> None:
        """Begin to connect; the SDK goes on trying. Returns after the first attempt."""
        self.away = False
        await self.client.connect()

    async def leave(self) -> None:
        """Disconnect, until `enter`."""
        self.away = True
        await self.client.disconnect()

    async def keep(self) -> None:
        """Connect again after each end from which the SDK itself does not come back; for ever."""
        while True:
            await self._ended.wait()
            await asyncio.sleep(ENDED_PAUSE)
            self._ended.clear()
            if not self.away:
                self.client.set_token("")
                await self.client.connect()

    async def call(self, method: str, **body: Any) -> Any:
        """Call an RPC method; return its result, raise `Failed`."""
        if not self.connected:
            raise Failed("disconnected")
        data = json.dumps(body).encode() if self.protobuf else body
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = (await self.client.rpc(method, data)).data
        except ReplyError as error:
            raise Failed(REASONS.get(error.code, "refused"), not error.temporary, error.code) from None
        except (OperationTimeoutError, TimeoutError):
            raise Failed("timeout") from None
        except CentrifugeError:
            raise Failed("disconnected") from None
        return self.decoded(answer)

    def decoded(self, data: Any) -> Any:
        """Return what an answer or a publication says; with Protobuf it comes as bytes."""
        return json.loads(data) if isinstance(data, bytes) else data

    async def on_connected(self, _: Any) -> None:
        """Count it, if it is not the first time and was not meant."""
        if self._was_connected:
            metrics.reconnects.inc()
            log.info("connected again", connection=self.name)
        self._was_connected = True

    async def on_connecting(self, ctx: Any) -> None:
        """Log the loss of a connection."""
        if self._was_connected and not self.away:
            log.info("connection lost", connection=self.name, code=ctx.code, reason=ctx.reason)

    async def on_disconnected(self, ctx: Any) -> None:
        """See to it that this is not the end."""
        if ctx.code == LEFT:
            self._was_connected = False
            return
        log.warning("connection ended", connection=self.name, code=ctx.code, reason=ctx.reason)
        if ctx.code in SESSION_ENDS:
            self._account.forget(self._token)
        self._ended.set()

    async def on_error(self, ctx: Any) -> None:
        """Get another token when this one is not taken; the SDK tries again by itself."""
        if isinstance(ctx.error, ReplyError) and ctx.error.code == TOKEN_EXPIRED:
            self._account.doubt(self._token)
        log.debug("connection error", connection=self.name, code=ctx.code, error=type(ctx.error).__name__)

    async def _new_token(self) -> str:
        self._token = await self._account.token()
        return self._token
