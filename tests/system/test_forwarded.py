"""Whose word on a client's address counts: FORWARDED_ALLOW_IPS, as the limits of the auth service count it."""

import ssl
from collections.abc import Callable

import httpx

from tests.bench.ring import Ring

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTED, STRANGER = "127.0.7.9", "127.0.8.1"
"""Addresses of this machine, from which the tests connect; the first lies in the network that is trusted."""


def guests(ring: Ring, peer: str, *forwarded: str) -> list[int]:
    """Sign guests in from `peer`, each said to come from the next of `forwarded`; return the answers' status."""
    transport = httpx.HTTPTransport(local_address=peer, verify=NO_TLS)
    with httpx.Client(transport=transport, trust_env=False, timeout=10) as client:
        return [
            client.post(f"{ring.auth_url}/guest", json={"name": "Ann"}, headers={"X-Forwarded-For": one}).status_code
            for one in forwarded
        ]


def test_only_trusted_proxies_name_the_client(rings: Callable[..., Ring]) -> None:
    """Limits count the address that a trusted proxy names, behind any address of its list; a stranger names nobody."""
    ring = rings(
        GATEWAY_WORKERS="1",
        AUTH_ADDRESS_GUEST_BURST="2",
        AUTH_ADDRESS_GUEST_PER_SECOND="0.001",
        FORWARDED_ALLOW_IPS="127.0.7.0/24,::1",
    ).start()

    # Each client has its own two, whatever it wrote into the header before the proxy added what it saw.
    assert guests(ring, TRUSTED, *["203.0.113.1"] * 3) == [200, 200, 429]
    assert guests(ring, TRUSTED, *["198.51.100.7, 203.0.113.2"] * 3) == [200, 200, 429]
    assert guests(ring, TRUSTED, "198.51.100.7") == [200]

    # A stranger is one address, whatever it says.
    assert guests(ring, STRANGER, "203.0.113.3", "203.0.113.4", "203.0.113.5") == [200, 200, 429]
