"""The server API's key: which header shows it, and what is none."""

import pytest
from fastapi import Request

from gateway.server_api import shows_key

KEY = "k€y".encode()


def request(**headers: bytes) -> Request:
    """Return a request with these headers."""
    raw = [(name.replace("_", "-").lower().encode(), value) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    "headers",
    [
        {"X_API_Key": KEY},
        {"Authorization": b"apikey " + KEY},
        {"Authorization": b"APIKEY  " + KEY},
        {"X_API_Key": KEY, "Authorization": b"Bearer of something else"},
    ],
)
def test_the_key_is_taken_from_either_header(headers: dict[str, bytes]) -> None:
    """`X-API-Key` and `Authorization: apikey` show the key, whatever bytes it has."""
    assert shows_key(request(**headers), KEY)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_API_Key": b""},
        {"X_API_Key": KEY[:-1]},
        {"X_API_Key": KEY + b"x"},
        {"X_API_Key": b"apikey " + KEY},
        {"X_API_Key": b"wrong", "Authorization": b"apikey " + KEY},
        {"Authorization": KEY},
        {"Authorization": b"Bearer " + KEY},
        {"Authorization": b"apikey"},
    ],
)
def test_nothing_else_is_the_key(headers: dict[str, bytes]) -> None:
    """A missing, shortened, longer or otherwise labelled key is none."""
    assert not shows_key(request(**headers), KEY)


@pytest.mark.parametrize("shown", [b"", b"x"])
def test_an_empty_key_opens_nothing(shown: bytes) -> None:
    """A deployment without a key has no key that fits."""
    assert not shows_key(request(X_API_Key=shown), b"", b"")


def test_the_key_before_opens_as_well() -> None:
    """While a backend changes its key, both open; one that is not named does not."""
    assert shows_key(request(X_API_Key=KEY), b"new" * 16, KEY)
    assert shows_key(request(X_API_Key=b"new" * 16), b"new" * 16, KEY)
    assert not shows_key(request(X_API_Key=KEY), b"new" * 16, b"")
