"""The connection to NATS: the only importer of `nats`.

What nats-py leaves open is closed here (each tried with 2.16.0): an over-long subject or a payload that its headers
make too large ends its connection for ever, so both are refused before; it publishes to wildcards and control
characters unasked, so those are too; it buffers publications while
disconnected, so buffering is off; it gives up reconnecting by default, so it never does; should it close all the same,
the process ends and is started again.
"""

import asyncio
import os
import re
import signal
from collections.abc import Callable
from typing import Any, Self

from nats import errors
from nats.micro import add_service
from nats.micro.service import Service, ServiceConfig

from chassis import logs, metrics
from chassis.encryption import Encryption
from chassis.inbox import Inbox
from chassis.nats_reading import Direct, Message, Receive, lean_client, subscribe
from chassis.nats_serving import LeanEndpoint, Respond, Serve
from chassis.nats_writing import MAX_SUBJECT, Congested, Malformed, Oversize, Writer, command, write_own
from chassis.settings import Settings

log = logs.get(__name__)

_PATTERN = re.compile(r"[!-~]+")
"""What may be subscribed to: printable ASCII without space."""
RECONNECT_WAIT_SECONDS = 0.25
CONNECT_SECONDS = 2
NO_RESPONDERS = "503"
"""The status with which nats-server answers a request that nobody listens for."""

Subscription = Direct


class BusError(Exception):
    """NATS could not do what was asked."""


class Unavailable(BusError):
    """No connection, nobody who answers, or no answer in time. It may have been done: retry with the same id."""


class Nobody(Unavailable):
    """Nobody answers on that subject, so nothing was done."""


class TooLarge(BusError):
    """The subject or the message is larger than NATS takes."""


class BadSubject(BusError):
    """The subject has a wildcard, a space, a control character, or a letter that is not ASCII; or a header has a line
    break. A fault of ours."""


class Bus:
    """One connection of one process. Usable at once; every call fails with `Unavailable` while NATS is away."""

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._client = lean_client()
        self._writer = Writer(self._client)
        self._encryption = Encryption(settings)
        self._inbox = Inbox(service)
        self._flushing: asyncio.Task[None] | None = None
        self._services: list[Service] = []
        self._on_connect: list[Callable[[], None]] = []
        self._on_disconnect: list[Callable[[], None]] = []
        self._closing = False
        self._connecting: asyncio.Task[Any] | None = None
        self._made = False

    @property
    def connected(self) -> bool:
        """Whether NATS can be reached, as far as is known now."""
        return self._client.is_connected

    def on_connect(self, call: Callable[[], None]) -> None:
        """Have `call` called each time the connection is made again."""
        self._on_connect.append(call)

    def on_disconnect(self, call: Callable[[], None]) -> None:
        """Have `call` called each time the connection is lost."""
        self._on_disconnect.append(call)

    async def ready(self) -> str | None:
        """Health check: None when connected."""
        if self.connected:
            return None
        why = self._encryption.why
        return f"no connection to NATS: {why}" if why else "no connection to NATS"

    async def connect(self) -> None:
        """Connect, trying until NATS answers."""
        self._connecting = asyncio.current_task()
        while not await self._attempt():
            # With a new client each time: one whose TLS handshake broke waits for ever in its close.
            self._client = lean_client()
            self._writer = Writer(self._client)
            await asyncio.sleep(RECONNECT_WAIT_SECONDS)
        self._connecting, self._made = None, True
        for subject, receive in self._inbox.receivers.items():
            await subscribe(self._client, subject, receive)
        self._connected()
        log.info("connected to NATS")

    async def _attempt(self) -> bool:
        try:
            await self._open()
        except (OSError, TimeoutError, errors.Error) as error:
            log.debug("no connection to NATS yet", error=type(error).__name__)
            self._abandon()
            return False
        return True

    def _abandon(self) -> None:
        """Close what an attempt left open; nothing of ours runs in it yet."""
        if self._client._transport:
            self._client._transport.close()  # type: ignore[no-untyped-call]

    async def _open(self) -> None:
        settings = self._settings
        await self._client.connect(
            servers=settings.nats_servers,
            name=self._service,
            user=settings.nats_user or self._service,
            password=self._password,
            tls=await self._encryption.trusted(),
            tls_hostname=settings.nats_tls_hostname or None,
            inbox_prefix=self._inbox.prefix,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type]  # any number of seconds
            connect_timeout=CONNECT_SECONDS,
            ping_interval=settings.nats_ping_seconds,  # type: ignore[arg-type]
            max_outstanding_pings=2,
            pending_size=0,
            error_cb=self._errored,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            closed_cb=self._closed,
        )

    async def withdraw(self) -> None:
        """Take no more requests; those taken can still be answered. Nothing to do while NATS is away."""
        if not self._client.is_connected:
            return
        try:
            for service in self._services:
                await service.stop()
        except errors.Error as error:
            log.info("connection lost while withdrawing", error=type(error).__name__)

    async def close(self) -> None:
        """Withdraw our services, then close the connection."""
        self._closing = True
        metrics.nats_connected.set(0)
        if not self._made:
            self._abandon()
            return
        try:
            await self.withdraw()
            # The bound is for a connection whose TLS handshake broke: nats-py waits for its end, which has passed.
            await asyncio.wait_for(self._client.close(), CONNECT_SECONDS)
        except TimeoutError:
            log.info("no end of the connection", seconds=CONNECT_SECONDS)
        except errors.Error as error:
            log.info("connection lost while closing it", error=type(error).__name__)
        except asyncio.CancelledError:
            # While it reconnects, nats-py cancels the very future that its close waits for (tried with 2.16.0).
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def send(self, subject: str, body: bytes, headers: dict[str, str] | None = None, reply: str = "") -> None:
        """Send at the end of this turn, waiting for nothing; raise `Unavailable`, `TooLarge` or `BadSubject`.

        What is sent as the connection breaks is lost, as with any publication of NATS that nobody acknowledges.
        """
        if not self._client.is_connected:
            raise Unavailable("no connection to NATS")
        try:
            self._writer.send(command(subject, reply, body, headers, self._client._max_payload))
        except Oversize as error:
            raise TooLarge(str(error)) from None
        except Malformed as error:
            raise BadSubject(str(error)) from None
        except Congested as error:
            metrics.nats_errors.labels("Congested").inc()
            raise Unavailable("NATS does not take what is sent") from error

    async def request(
        self, subject: str, body: bytes, headers: dict[str, str] | None = None, seconds: float | None = None
    ) -> Message:
        """Send and wait for one answer, at most `seconds` (default: the setting); raise `Unavailable` without one."""
        reply, future = self._inbox.expect_one()
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(seconds or self._settings.nats_request_seconds, _expire, future)
        try:
            self.send(subject, body, headers, reply)
            answer = await future
        except TimeoutError as error:
            raise Unavailable("no answer in time") from error
        finally:
            deadline.cancel()
            self._inbox.forget(reply)
        if answer.headers.get("Status") == NO_RESPONDERS and not answer.body:
            raise Nobody(subject)
        return answer

    async def request_many(self, subject: str, body: bytes, seconds: float | None = None) -> list[Message]:
        """Send and collect answers until one with a `Status` header ends them; it is the last of the list."""
        reply, future = self._inbox.expect_many()
        try:
            self.send(subject, body, reply=reply)
            return await asyncio.wait_for(future, seconds or self._settings.nats_request_seconds)
        except TimeoutError as error:
            raise Unavailable("no answer in time") from error
        finally:
            self._inbox.forget(reply)

    async def subscribe(self, subject: str, receive: Receive) -> Subscription:
        """Have `receive` called for each message on `subject`, in order; raise `Unavailable` while disconnected."""
        if not self._client.is_connected:
            raise Unavailable("no connection to NATS")
        if len(subject) > MAX_SUBJECT:
            raise TooLarge(f"{len(subject)} characters")
        if _PATTERN.fullmatch(subject) is None:
            raise BadSubject("not a subject")
        try:
            return await subscribe(self._client, subject, receive)
        except errors.Error as error:
            raise Unavailable(type(error).__name__) from error

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; nothing to do when NATS is away or it has ended."""
        try:
            await subscription.unsubscribe()
        except errors.Error as error:
            log.debug("unsubscribe without a connection", error=type(error).__name__)

    async def answer(self, subject: str, serve: Serve) -> Subscription:
        """Have `serve` called for each request on `subject`, one after the other; raise `Unavailable`.

        For a subject of one process alone; `serve` (below) offers what any replica can do.
        """

        return await self.subscribe(subject, lambda message: serve(message.body, self._responder(message.reply)))

    def _responder(self, reply: str) -> Respond:
        def respond(body: bytes) -> None:
            try:
                self.send(reply, body)
            except BusError as error:  # the asker's deadline deals with a lost answer
                log.warning("answer not sent", error=type(error).__name__, reason=str(error))

        return respond

    async def flush(self) -> None:
        """Wait until NATS has taken all that was sent, subscriptions included; raise `Unavailable` otherwise.

        Those who ask within one turn of the event loop wait for one answer together.
        """
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
            self._flushing.add_done_callback(lambda task: task.cancelled() or task.exception())  # told to who waits
        await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        self._flushing = None  # who asks from now on has sent what this one may not cover
        self._writer.flush()
        try:
            write_own(self._client)
            await self._client.flush(timeout=self._settings.nats_request_seconds)  # type: ignore[arg-type]
        except errors.Error as error:
            raise Unavailable(type(error).__name__) from error

    async def serve(self, name: str, version: str, queue: str, endpoints: dict[str, Serve]) -> None:
        """Offer a NATS micro service: subject to what serves it, one queue group for all replicas."""
        service = await add_service(self._client, ServiceConfig(name=name, version=version, queue_group=queue))
        for subject, serve in endpoints.items():
            endpoint = LeanEndpoint(service, subject, queue, serve, self._responder)
            await endpoint._start()
            service._endpoints.append(endpoint)
        self._services.append(service)

    def _password(self) -> str:
        """Return the password; nats-py asks when it is about to be sent. Raises where it would go unencrypted."""
        writer = getattr(self._client._transport, "_io_writer", None)
        self._encryption.require(writer is not None and writer.get_extra_info("ssl_object") is not None)
        return self._settings.nats_password.get_secret_value()

    def _connected(self) -> None:
        metrics.nats_connected.set(1)
        self._encryption.made()

    async def _errored(self, error: Exception) -> None:
        metrics.nats_errors.labels(type(error).__name__).inc()
        self._encryption.failed(error)
        if asyncio.current_task() is self._connecting:
            raise error  # ends this attempt of `connect`
        if self._client.is_connected:
            log.warning("NATS error", error=type(error).__name__, detail=str(error)[:200])

    async def _disconnected(self) -> None:
        if self._closing:
            return
        metrics.nats_connected.set(0)
        log.warning("NATS connection lost")
        for call in self._on_disconnect:
            call()

    async def _reconnected(self) -> None:
        self._connected()
        metrics.nats_reconnects.inc()
        log.info("NATS connection made again")
        for call in self._on_connect:
            call()

    async def _closed(self) -> None:
        if not self._closing:
            log.error("the NATS client closed for good; ending the process")
            os.kill(os.getpid(), signal.SIGTERM)


def _expire(future: asyncio.Future[Message]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


__all__ = [
    "BadSubject",
    "Bus",
    "BusError",
    "Message",
    "Nobody",
    "Respond",
    "Serve",
    "Subscription",
    "TooLarge",
    "Unavailable",
]
