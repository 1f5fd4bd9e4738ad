"""Refusals over HTTP: requests that get no stream, and frames that reach none."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bench.clients import SECONDS, eventually, guest, http
from tests.bench.raw_stream import Raw
from tests.bench.ring import Ring
from tests.bench.streamed import OCTETS
from tests.system.conftest import Come


@pytest.mark.parametrize("form", ["lines", "protobuf"])
async def test_unknown_sessions_and_nodes_are_not_found(calm_ring: Ring, come: Come, form: str) -> None:
    """A frame for nobody is 404, through whichever process, so that SDKs connect again; nothing else is reached."""
    one, other = await come(calm_ring, form), await come(calm_ring, form)
    gone = one.session
    await one.leave()

    async def forgotten() -> bool:
        return (await other.post(other.encode({"id": 1}), session=gone, node=one.node)).status_code == 404

    await eventually(forgotten, "the session is gone with its client")
    wrong = [{"node": node} for node in ("a" * 20, "control", "gateway", "a.b", "*", ">", "", "ä", "a" * 5000)]
    for changed in [*wrong, {"session": ""}, {"session": "x" * 5000}, {"session": other.node}]:
        for _ in range(4):
            assert (await other.post(other.encode({"id": 1}), **changed)).status_code == 404, changed
    assert await other.call("echo", still="here") == {"still": "here"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{}", {}),
        (b"[]", {}),
        (b"nonsense", {}),
        (b'{"node":"n","session":"s","data":{"id":1}}', {}),
        (b'{"node":"n","session":"s","data":"\\ud800"}', {}),
        (b'{"node":1,"session":"s","data":"{}"}', {}),
        (b"[" * 60000, {}),
        (b"\xff", {}),
        (b"\xff\xff\xff", OCTETS),
        (b"{}", OCTETS),
    ],
)
async def test_what_cannot_be_decoded_is_a_bad_request(calm_ring: Ring, body: bytes, headers: dict[str, str]) -> None:
    """A post that is not of the encoding it says is 400."""
    answer = await http("POST", f"{calm_ring.gateway_url}/emulation", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "bad_request"


@pytest.mark.parametrize("path", ["/emulation", "/connection/http_stream"])
async def test_large_bodies_are_refused(calm_ring: Ring, path: str) -> None:
    """More than 64 KiB is 413, said or streamed without a length; exactly that is read."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(66):
            yield b"x" * 1000

    for body in (b"x" * 65537, pieces()):
        assert (await http("POST", calm_ring.gateway_url + path, content=body)).status_code == 413
    assert (await http("POST", calm_ring.gateway_url + path, content=b"x" * 65536)).status_code in (200, 400)


async def test_a_slow_body_is_refused(strict_ring: Ring) -> None:
    """A body that does not come within CONNECT_SECONDS is 408."""
    reader, writer = await asyncio.open_connection("127.0.0.1", strict_ring.ports["gateway"])
    writer.write(b"POST /connection/http_stream HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert (await asyncio.wait_for(reader.readline(), SECONDS)).split()[1] == b"408"
    writer.close()
    await writer.wait_closed()


async def test_an_event_source_without_a_command_is_refused(calm_ring: Ring) -> None:
    """The address must hold the connect command, and less than 64 KiB."""
    url = f"{calm_ring.gateway_url}/connection/sse"
    assert (await http("GET", url)).status_code == 400
    reader, writer = await asyncio.open_connection("127.0.0.1", calm_ring.ports["gateway"])
    writer.write(b"GET /connection/sse?cf_connect=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 65537))
    assert (await asyncio.wait_for(reader.readline(), SECONDS)).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/connection/http_stream"), ("GET", "/connection/sse?cf_connect=x"), ("POST", "/emulation")],
)
async def test_pages_of_others_are_refused(calm_ring: Ring, method: str, path: str) -> None:
    """A foreign Origin gets nothing; an allowed one is answered so that the browser lets the page read it."""
    own = f"http://localhost:{calm_ring.ports['gateway']}"
    for origin, allowed in ((own, True), ("http://evil.example", False)):
        answer = await http(method, calm_ring.gateway_url + path, content=b"x", headers={"Origin": origin})
        assert (answer.status_code == 403) is not allowed
        assert answer.headers.get("access-control-allow-origin") == (own if allowed else None)


@pytest.mark.parametrize("path", ["/connection/http_stream", "/emulation"])
async def test_browsers_may_ask_first(calm_ring: Ring, path: str) -> None:
    """The preflight of a page's POST with JSON or Protobuf is granted to allowed origins only."""
    own = f"http://localhost:{calm_ring.ports['gateway']}"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    granted = await http("OPTIONS", calm_ring.gateway_url + path, headers=asked | {"Origin": own})
    assert granted.status_code == 200
    assert granted.headers["access-control-allow-origin"] == own
    assert "POST" in granted.headers["access-control-allow-methods"]
    assert "content-type" in granted.headers["access-control-allow-headers"].lower()
    refused = await http("OPTIONS", calm_ring.gateway_url + path, headers=asked | {"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in refused.headers


async def test_requests_behind_a_stream_are_not_read(calm_ring: Ring) -> None:
    """Who sends more requests on a stream's connection gets no answer to them, and the stream goes on."""
    account = await guest(calm_ring)
    raw = await Raw.open(calm_ring, account)
    raw.writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    made = await raw.line()
    await raw.post({"id": 2, "rpc": {"method": "echo", "data": 1}})
    assert made["connect"]["session"] == raw.session
    assert await raw.line() == {"id": 2, "rpc": {"data": 1}}
    await raw.close()
