"""Whose X-Forwarded-For and X-Forwarded-Proto count, under both servers that run ours."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext

import httpx
import pytest

from chassis.settings import environment
from tests.bench.nats import ROOT
from tests.bench.ports import wait_until

TRUSTED, STRANGER = "127.0.7.9", "127.0.8.1"
"""Addresses of this machine, from which the test connects."""


def seen(port: int, peer: str) -> list[str] | None:
    """Return the client's address and the scheme as the server takes them; None while it does not answer."""
    transport = httpx.HTTPTransport(local_address=peer, verify=SSLContext(PROTOCOL_TLS_CLIENT))
    headers = {"X-Forwarded-For": "198.51.100.7, 203.0.113.1", "X-Forwarded-Proto": "https"}
    try:
        with httpx.Client(transport=transport, trust_env=False, timeout=5) as client:
            found: list[str] = client.get(f"http://127.0.0.1:{port}/", headers=headers).json()
            return found
    except httpx.TransportError:
        return None


@pytest.fixture(params=["uvicorn", "gunicorn"])
def port(request: pytest.FixtureRequest, free_port: Callable[[], int], tmp_path: Path) -> Iterator[int]:
    """The port of a server that trusts one network."""
    port = free_port()
    served = subprocess.Popen(
        [sys.executable, "-m", "tests.service.chassis.mirror", request.param, str(port)],
        cwd=ROOT,
        env={**environment(), "FORWARDED_ALLOW_IPS": "::1, 127.0.7.0/24", "DATA_DIR": str(tmp_path)},
    )
    try:
        wait_until(lambda: seen(port, TRUSTED) or served.poll() is not None, "the server answers")
        yield port
    finally:
        served.terminate()
        served.wait(20)


def test_only_trusted_addresses_are_believed(port: int) -> None:
    """A trusted peer's last entry is the client and its scheme counts; a stranger is itself, whatever it says."""
    assert seen(port, TRUSTED) == ["203.0.113.1", "https"]
    assert seen(port, STRANGER) == [STRANGER, "http"]
