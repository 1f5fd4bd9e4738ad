"""Health of a ring that is sent nonsense: what its metrics and logs say, and a connection that goes on.

Imports nothing of ours.
"""

from pathlib import Path

from tests.bench.clients import Frames
from tests.bench.metrics import metrics_page, total
from tests.bench.ring import Ring


def logs(ring: Ring) -> dict[str, str]:
    """Return every log of the ring by file name."""
    return {path.name: path.read_text(errors="replace") for path in Path(ring.directory, "logs").iterdir()}


async def health(ring: Ring) -> dict[str, float]:
    """Return what must not change: NATS connections and errors, endings through our fault."""
    counted: dict[str, float] = {}
    for part in ("gateway", "chat", "auth"):
        page = await metrics_page(ring, part)
        counted[f"{part} connected"] = total(page, "parley_nats_connected")
        counted[f"{part} reconnects"] = total(page, "parley_nats_reconnects_total")
        counted[f"{part} NATS errors"] = total(page, "parley_nats_errors_total")
        counted[f"{part} 500"] = total(page, "parley_http_requests_total", status="500")
        counted[f"{part} ended by our fault"] = total(page, "parley_disconnects_total", code="3004")
    return counted


async def alive(one: Frames) -> None:
    """Assert that the connection goes on."""
    assert await one.call("echo", x=1) == {"x": 1}
