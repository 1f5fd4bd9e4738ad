"""Requests of a NATS micro service (nats-server ADR-32) straight from the reader: no queue and no task in between."""

from collections.abc import Callable
from typing import Any

from nats.micro.service import Endpoint, EndpointConfig, Service

from chassis import traces
from chassis.nats_reading import Message, subscribe

Respond = Callable[[bytes], None]
"""Answers a request. An answer that is lost is not told of: the asker's deadline deals with it."""
Serve = Callable[[bytes, Respond], None]
"""Takes a request's body and a way to answer; must not block (spawn bounded work).

The span that the asker named, if any, is the current one meanwhile, and in tasks begun then.
"""


class LeanEndpoint(Endpoint):
    """One subject of a service, and what serves it."""

    def __init__(
        self, service: Service, subject: str, queue: str, serve: Serve, responder: Callable[[str], Respond]
    ) -> None:
        config = EndpointConfig(name=subject.replace(".", "-"), subject=subject, queue_group=queue, handler=_no_handler)
        super().__init__(service, config)
        self._serve = serve
        self._responder = responder

    async def _start(self) -> None:
        self._subscription: Any = await subscribe(self._service._client, self._subject, self._took, self._queue_group)

    async def _stop(self) -> None:
        """End, but for what is on its way: whoever asked would wait for an answer that nobody gives."""
        await self._subscription.drain()

    def _took(self, request: Message) -> None:
        self._num_requests += 1
        with traces.continued(request.headers):
            self._serve(request.body, self._responder(request.reply))


async def _no_handler(_: object) -> None:
    """Stand where nats-py wants a function; requests do not pass there."""
