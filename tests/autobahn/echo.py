"""The gateway's WebSocket with nothing of the client protocol on it: every message comes back as it was sent.

The classes are those that serve clients (`gateway.streaming`, `socket`, `framing`, `handshake`), under uvicorn as the
gateway's worker has it; only the size of the largest message is another, for the suite sends 16 MiB.
"""

import sys
from typing import Any

import uvicorn

from chassis.server import GatewayWorker
from gateway.framing import BINARY, TEXT, frame
from gateway.socket import EXTENSION, Socket

LARGEST = 16 * 1024 * 1024


class Echo:
    """A receiver that writes back what it gets, and reads no more while that is not taken."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def frame_received(self, payload: bytes, text: bool) -> None:
        """Send it back."""
        if self._socket.open:
            self._socket.write(frame(TEXT if text else BINARY, payload))

    def socket_closed(self, code: int) -> None:
        """Nothing is to be done."""

    def writing_paused(self) -> None:
        """Read no more until what was written is taken."""
        self._socket.pause_reading()

    def writing_resumed(self) -> None:
        """Read on."""
        self._socket.resume_reading()

    def shutdown(self) -> None:
        """Nothing is to be done."""


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Accept every WebSocket, and detach it to an `Echo`."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        socket: Socket = scope["extensions"][EXTENSION]
        socket.detach(Echo(socket))


def main() -> None:
    """Serve on the port of 127.0.0.1 that the first argument names, until SIGTERM."""
    options = GatewayWorker.CONFIG_KWARGS | {"ws_max_size": LARGEST, "lifespan": "off", "log_level": "warning"}
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), **options)


if __name__ == "__main__":
    main()
