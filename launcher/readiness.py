"""Whether the parts are ready: asked from outside, as an orchestrator would."""

import asyncio

import httpx

from launcher.parts import NATS, Part

ASK_SECONDS = 3.0
ASK_TIMES = 12
"""A part is ready when this many fresh connections in a row say so: which of gunicorn's workers answers is chance, and
of two that begin at once one is often a moment behind."""


async def missing(client: httpx.AsyncClient, part: Part) -> str | None:
    """Return what `part` still lacks, in a few words; None when it is ready."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(part.host, part.host)
    if part.name == NATS:
        return await _missing_of_nats(host, part.port)
    address = f"[{host}]" if ":" in host else host
    for _ in range(ASK_TIMES):
        lack = await _missing_of_service(client, f"http://{address}:{part.internal_port or part.port}/health/ready")
        if lack is not None:
            return lack
    return None


def new_client() -> httpx.AsyncClient:
    """Return a client for `missing`: no proxies of the environment, a connection per question."""
    return httpx.AsyncClient(trust_env=False, timeout=ASK_SECONDS, headers={"Connection": "close"})


async def _missing_of_nats(host: str, port: int) -> str | None:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            greeting = await reader.read(5)
            writer.close()
    except (OSError, TimeoutError):
        return "does not answer yet"
    return None if greeting == b"INFO " else "does not speak NATS"


async def _missing_of_service(client: httpx.AsyncClient, url: str) -> str | None:
    try:
        answer = await client.get(url)
    except httpx.HTTPError:
        return "does not answer yet"
    if answer.status_code == 200:
        return None
    try:
        lacks: dict[str, str] = answer.json()["missing"]
    except (ValueError, KeyError, TypeError):
        return f"answers {answer.status_code}"
    return "; ".join(f"{name}: {text}" for name, text in lacks.items())
