"""Who counts as one caller, and whose word is taken for where a request came from."""

import pytest

from chassis.addresses import Proxies, network


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("a name", "unknown"),
    ],
)
def test_network(address: str, caller: str) -> None:
    """IPv6 subscribers have a /64 to themselves, so that is what counts as one."""
    assert network(address) == caller


@pytest.mark.parametrize(
    ("believed", "peer", "forwarded", "caller"),
    [
        ("127.0.0.1", "192.0.2.1", [], "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("127.0.0.1", "127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", "127.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", "127.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1,10.0.0.0/8", "127.0.0.1", ["203.0.113.9, 198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("10.0.0.0/8", "10.1.2.3", ["10.4.5.6, 10.7.8.9"], "10.4.5.6"),
        ("127.0.0.1", "127.0.0.1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("127.0.0.1", "127.0.0.1", ["rubbish"], "unknown"),
        ("127.0.0.1", "127.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("127.0.0.1", "127.0.0.1", ["[2001:db8:1:2::5]:4711"], "2001:db8:1:2::/64"),
        ("127.0.0.1", "127.0.0.1", ["9" * 60_000], "unknown"),
        ("127.0.0.1", "127.0.0.1", [""], "127.0.0.1"),
        ("*", "192.0.2.1", ["203.0.113.9, 198.51.100.7"], "203.0.113.9"),
        ("", "", [], "unknown"),
    ],
)
def test_caller(believed: str, peer: str, forwarded: list[str], caller: str) -> None:
    """Only a proxy that is believed may say where a request came from; what came before it anybody may have written."""
    headers = [(b"host", b"chat.example"), *((b"x-forwarded-for", one.encode()) for one in forwarded)]

    assert Proxies(believed).caller(peer, headers) == caller
