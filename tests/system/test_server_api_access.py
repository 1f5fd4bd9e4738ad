"""Access to the server API: who may ask, and how."""

import pytest

from tests.bench.clients import http
from tests.bench.ring import Ring
from tests.bench.server_api import KEY, ask, code, fresh, post


@pytest.fixture(scope="module")
def ring(api_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return api_ring


async def test_only_the_key_opens_the_api(ring: Ring) -> None:
    """Both headers work; a wrong key or none is 401, a page's request 403."""
    assert (await post(ring, "info", {"Authorization": f"apikey {KEY}"})).status_code == 200
    for headers in ({"X-API-Key": "wrong"}, {"Authorization": f"Bearer {KEY}"}, {"X-Other": KEY}):
        answer = await post(ring, "info", headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "apikey"
    for origin in (ring.page_url, "https://example.org"):
        assert (await post(ring, "info", {"X-API-Key": KEY, "Origin": origin})).status_code == 403


async def test_without_a_key_there_is_no_api(calm_ring: Ring) -> None:
    """A deployment that sets no key answers 404, whatever key is shown."""
    for headers in ({"X-API-Key": ""}, {"X-API-Key": KEY}, {"Authorization": "apikey"}, {}):
        answer = await post(calm_ring, "publish", headers or {"X-Other": "x"}, channel="room:general", data=1)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"{"),
        (400, b"[]"),
        (400, b'{"channel": 5, "data": 1}'),
        (400, b'{"channel": "news", "data": "\xff"}'),
        (400, b"[" * 100_000),
        (413, b'{"channel": "news", "data": "' + b"x" * 1024 * 1024 + b'"}'),
    ],
)
async def test_bodies_that_are_not_understood(ring: Ring, status: int, body: bytes) -> None:
    """They are answered by status, and the next request by its result."""
    url = f"{ring.gateway_url}/api/publish"
    answer = await http("POST", url, headers={"X-API-Key": KEY}, content=body)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await ask(ring, "publish", channel=fresh(), data=1))["offset"] == 1


async def test_methods_that_are_not_offered(ring: Ring) -> None:
    """Known ones are not available (108), others do not exist (404), and only POST asks."""
    for method in ("batch", "channels", "history_remove", "subscribe", "refresh", "rpc"):
        assert await code(ring, method) == 108
    assert (await post(ring, "nosuch")).status_code == 404
    assert (await http("GET", f"{ring.gateway_url}/api/info", headers={"X-API-Key": KEY})).status_code in (404, 405)
