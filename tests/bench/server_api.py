"""The server API as a team's own backend asks it: one request, one connection, so that either process gets some.

Imports nothing of ours.
"""

import uuid
from typing import Any

from tests.bench.clients import http
from tests.bench.ring import Ring

KEY = "the API key of a test, which is long enough"


async def post(ring: Ring, method: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """Make one request; return the response."""
    return await http("POST", f"{ring.gateway_url}/api/{method}", headers=headers or {"X-API-Key": KEY}, json=body)


async def ask(ring: Ring, method: str, **body: Any) -> Any:
    """Make one request that must succeed; return its result."""
    answer = await post(ring, method, **body)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"result"}, answer.text
    return answer.json()["result"]


async def code(ring: Ring, method: str, **body: Any) -> int:
    """Make one request that must be refused; return the error's code."""
    answer = await post(ring, method, **body)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"error"}, answer.text
    assert answer.json()["error"]["message"]
    number: int = answer.json()["error"]["code"]
    return number


def fresh(word: str = "news") -> str:
    """Return the name of a channel (or a user) that nobody used."""
    return f"{word}{uuid.uuid4().hex[:12]}"
