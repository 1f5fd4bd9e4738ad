"""Whose address a request comes from, and which addresses are one caller's."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

FORWARDED = b"x-forwarded-for"
LONGEST = 64
"""Characters of an address; what is longer is none, and is not remembered."""


def network(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 that one IPv6 subscriber has to himself."""
    return _network(address) if len(address) <= LONGEST else "unknown"


@lru_cache(maxsize=4096)  # who comes often comes from the same places
def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


class Proxies:
    """Whose word on where a request came from is believed: uvicorn's rules, for what never comes to its middleware."""

    def __init__(self, believed: str) -> None:
        """`believed` is as FORWARDED_ALLOW_IPS: addresses and networks by comma, or `*` for everybody."""

        async def nothing(*_: object) -> None:
            """Stand where the application would."""

        self._trusted = ProxyHeadersMiddleware(nothing, believed).trusted_hosts

    def caller(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the network of whoever asked: `peer`, or, of a proxy that is believed, the last one in its
        X-Forwarded-For that is no such proxy itself; of proxies alone the first."""
        if peer in self._trusted:
            said = b", ".join([value for name, value in headers if name == FORWARDED])
            if said:
                peer = self._trusted.get_trusted_client_address(said.decode("latin-1"))[0] or peer
        return network(peer)
