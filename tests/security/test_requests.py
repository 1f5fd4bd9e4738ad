"""Requests that lie: about where they go, what they carry, and who wrote the log line."""

import asyncio
import base64
import gzip
import json
import os
import random
import re
import socket
import string
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.clients import Frames, bearer, eventually, guest, http
from tests.bench.metrics import metric, metrics_page, samples
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
MIB = 1024 * 1024
ROUTES: dict[str, list[tuple[str, str]]] = {
    "gateway": [
        ("GET", "/"),
        ("GET", "/config.json"),
        ("GET", "/logo.svg"),
        ("GET", "/connection/sse"),
        ("POST", "/connection/http_stream"),
        ("POST", "/emulation"),
        ("POST", "/api/info"),
        ("GET", "/health/live"),
        ("GET", "/nothing"),
    ],
    "auth": [
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/auth/docs"),
        ("GET", "/auth/me"),
        ("POST", "/auth/guest"),
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
        ("POST", "/auth/logout"),
        ("POST", "/auth/tickets"),
        ("GET", "/nothing"),
    ],
}
HOSTS = [
    "evil.example",
    "a/?",
    "a#",
    "a@b",
    "a/../../auth/docs?",
    "localhost:1/connection/",
    "127.0.0.1/metrics?x=",
    "[::1",
    "a b",
    "x" * 4000,
    "%00",
    "\xe9.example",
    "",
]


@pytest.fixture(scope="module")
def ring(guarded_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return guarded_ring


def logs(ring: Ring) -> dict[str, str]:
    """Return the log of each service by file name."""
    return {file.name: file.read_text(errors="replace") for file in Path(ring.directory, "logs").glob("*.log")}


def asked(port: int, *lines: str, body: bytes = b"") -> tuple[int, str]:
    """Return status and the rest of the answer to a request written by hand; status 0 when there is none."""
    request = (
        "\r\n".join([*lines, "Connection: close", f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body
    )
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(request)
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
    head, _, rest = answer.decode("latin-1").partition("\r\n")
    found = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", head)
    return int(found[1]) if found else 0, rest


def without_chance(answer: str) -> str:
    """Return an answer without what differs each time."""
    return re.sub(r"(?im)^(date|x-request-id|retry-after): .*$", "", answer)


@pytest.mark.parametrize(
    ("part", "method", "path"), [(part, *route) for part, routes in ROUTES.items() for route in routes]
)
async def test_no_host_header_changes_where_a_request_goes(ring: Ring, part: str, method: str, path: str) -> None:
    """Whatever Host says, a route answers as it always does, or with 400; it never repeats it, and nothing fails."""
    port = ring.ports[part]
    usual = await asyncio.to_thread(asked, port, f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}")
    assert usual[0] not in (0, 500)
    for host in HOSTS:
        for lines in (
            [f"Host: {host}"],
            [f"Host: 127.0.0.1:{port}", f"X-Forwarded-Host: {host}", f"X-Original-URL: {host}"],
        ):
            answer = await asyncio.to_thread(asked, port, f"{method} {path} HTTP/1.1", *lines)
            assert answer[0] in (usual[0], 400), host
            if answer[0] == usual[0]:
                assert without_chance(answer[1]) == without_chance(usual[1])
            assert len(host) < 4 or host not in answer[1]


@pytest.mark.parametrize(
    "target", ["http://evil.example/auth/me", "//auth/me", "/auth/me/..;/docs", "/AUTH/ME", "/auth%2fme"]
)
async def test_no_form_of_the_target_goes_round_the_token(ring: Ring, target: str) -> None:
    """A path that is written in another way is refused as without a token, or is none at all."""
    port = ring.ports["auth"]
    status, rest = await asyncio.to_thread(asked, port, f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{port}")
    assert status in (400, 401, 404)
    assert '"user"' not in rest


INJECTIONS = {
    "line breaks": 'x\r\n{"level":"error","event":"forged by a stranger"}',
    "encoded line breaks": "x%0d%0a%7b%22event%22:%22forged by a stranger%22%7d",
    "an escape sequence": "\x1b[2J\x1b]0;forged by a stranger\x07",
    "an encoded escape sequence": "%1b%5b2Jforged by a stranger",
    "a line separator": "x\u2028forged by a stranger",
    "a bidi override": "\u202eforged by a stranger",
}


@pytest.mark.parametrize("kind", INJECTIONS)
async def test_nothing_that_is_sent_makes_a_log_line(ring: Ring, frames: Open, kind: str) -> None:
    """In names, texts, paths and headers: each log line stays one JSON object, and holds nothing of it."""
    evil = INJECTIONS[kind]
    account = await guest(ring, "Quiet")
    one = await frames(ring)
    await one.enter(account.access)
    await one.call("room.join", room="general")
    await one.ask(rpc={"method": evil, "data": {}})
    await one.ask(rpc={"method": "message.send", "data": {"room": "general", "id": evil, "text": evil}})
    await one.ask(rpc={"method": "room.create", "data": {"name": evil}})
    await one.ask(subscribe={"channel": evil})
    for path in ("/auth/guest", "/auth/login", "/auth/refresh"):
        body = {"name": evil, "username": evil, "password": evil, "refresh_token": evil}
        await http("POST", f"http://127.0.0.1:{ring.ports['auth']}{path}", json=body)
    header = evil.encode().decode("latin-1")
    for part in ("gateway", "auth"):
        one_line = header.replace("\r", "").replace("\n", "")
        for name in (
            "User-Agent",
            "Origin",
            "Authorization",
            "X-Request-Id",
            "X-Forwarded-For",
            "Traceparent",
            "Referer",
        ):
            await asyncio.to_thread(
                asked, ring.ports[part], "GET /config.json HTTP/1.1", "Host: x", f"{name}: {one_line}"
            )
        await asyncio.to_thread(asked, ring.ports[part], f"GET /{one_line.replace(' ', '+')} HTTP/1.1", "Host: x")
    for name, text in logs(ring).items():
        assert "forged" not in text, name
        if not name.startswith("nats"):
            for line in text.splitlines():
                assert isinstance(json.loads(line), dict), (name, line[:300])
            assert all(one.isprintable() or one == "\n" for one in text), name


async def test_compression_is_never_agreed_to(ring: Ring, frames: Open) -> None:
    """However it is offered, no extension is negotiated, and a compressed frame breaks the rules: 1002."""
    offers = ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame", "a, b; c=1"]
    for offer in offers:
        one = await frames(ring, additional_headers={"Sec-WebSocket-Extensions": offer})
        assert one.socket.response is not None
        assert "Sec-WebSocket-Extensions" not in one.socket.response.headers
        one.socket.transport.write(b"\xc1\x80\0\0\0\0")  # FIN, RSV1, text: what says that it is compressed
        assert (await one.end())[0] == 1002


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("part", ["gateway", "auth"])
async def test_a_compressed_body_is_not_inflated(ring: Ring, part: str) -> None:
    """64 MiB in 64 KiB: a body is read as it is, refused, and the process keeps its size."""
    bomb = gzip.compress(bytes(60 * MIB))
    path = {"gateway": "/connection/http_stream", "auth": "/auth/guest"}[part]
    pids = (
        await asyncio.to_thread(ring.worker_pids) if part == "gateway" else [await asyncio.to_thread(ring.pid_of, part)]
    )
    before = {pid: resident(pid) for pid in pids}
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for _ in range(5):
        answer = await http("POST", f"http://127.0.0.1:{ring.ports[part]}{path}", content=bomb, headers=headers)
        assert answer.status_code in (200, 400, 413, 422)
        assert "connect" not in answer.text.replace("disconnect", "")
    assert max(resident(pid) - before[pid] for pid in pids) < 8 * MIB


async def test_what_strangers_send_makes_no_series(ring: Ring, frames: Open) -> None:
    """Paths, methods, headers, RPC methods and channels nobody knows leave the number of series of metrics as it is."""

    def word() -> str:
        return "".join(random.choices(string.ascii_lowercase, k=12))

    async def strange() -> None:
        one = await frames(ring)
        await one.enter((await guest(ring, word())).access)
        await one.ask(rpc={"method": word(), "data": {}})
        await one.ask(subscribe={"channel": f"room:{word()}"})
        await one.ask(subscribe={"channel": f"{word()}:{word()}"})
        await one.ask(publish={"channel": f"room:{word()}", "data": {}})
        for part in ("gateway", "auth"):
            for method in ("GET", "POST", "DELETE"):
                headers = {"User-Agent": word(), "X-Forwarded-For": word()}
                await http(method, f"http://127.0.0.1:{ring.ports[part]}/{word()}/{word()}", headers=headers)

    async def series() -> dict[str, int]:
        pages = {part: await metrics_page(ring, part) for part in ("gateway", "auth", "chat")}
        return {part: len(samples(page)) for part, page in pages.items()}

    for _ in range(5):  # on both workers, so that each has seen everything once
        await strange()
    await series()  # asking is counted as well
    before = await series()
    for _ in range(10):
        await strange()
    assert await series() == before


# Tokens where a WebSocket is not.

FORGED: dict[str, Callable[[str], str]] = {
    "cut": lambda token: token[:-4],
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "another signature": lambda token: token.rpartition(".")[0] + "." + "A" * 86,
    "other claims": lambda token: ".".join([token.split(".")[0], "eyJzdWIiOiJyb290In0", token.split(".")[2]]),
    "alg none": lambda token: "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + token.split(".")[1] + ".",
    "one word": lambda _: "token",
    "a dot": lambda _: ".",
}


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("path", ["/connection/http_stream", "/connection/sse?cf_connect={}"])
async def test_a_forged_token_opens_no_stream(ring: Ring, kind: str, path: str) -> None:
    """The verifier of the WebSocket is that of HTTP too: 401 before anything is streamed."""
    forged = FORGED[kind]((await guest(ring)).access)
    method = "POST" if path.endswith("stream") else "GET"
    headers = {"Authorization": f"Bearer {forged}"}
    answer = await http(method, ring.gateway_url + path, headers=headers, content=b'{"id":1,"connect":{}}')
    assert answer.status_code == 401, answer.text


async def test_unknown_keys_cause_no_flood_of_fetches(ring: Ring, frames: Open) -> None:
    """Tokens that name keys nobody has are refused; each process asks for the published keys at most once for them."""
    header = '{"alg":"EdDSA","typ":"at+jwt","kid":"%s"}'
    claims = (await guest(ring)).access.split(".")[1]
    before = await metric(ring, "parley_key_fetches_total")
    for number in range(100):
        kid = base64.urlsafe_b64encode((header % f"nobody{number}").encode()).rstrip(b"=").decode()
        one = await frames(ring)
        await one.send(one.numbered(connect={"token": f"{kid}.{claims}.{'A' * 86}"}))
        assert (await one.end())[0] == 3500
    assert await metric(ring, "parley_key_fetches_total") - before <= 2 * len(await asyncio.to_thread(ring.worker_pids))


@pytest.mark.parametrize("path", ["guest", "login", "register", "refresh"])
async def test_forms_are_not_taken(ring: Ring, path: str) -> None:
    """What any page may post without being asked first, forms and plain text, is read neither as fields nor as JSON."""
    url = f"{ring.auth_url}/{path}"
    fields = {"name": "Ann", "username": "annann", "password": "correct horse battery", "refresh_token": "x"}
    for options in (
        {"data": fields},
        {"files": {name: (None, value) for name, value in fields.items()}},
        {"content": json.dumps(fields), "headers": {"Content-Type": "text/plain"}},
        {"content": b"a=1&" * 4000, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ):
        answer = await http("POST", url, **options)
        assert answer.status_code in (413, 415, 422), (options, answer.text)


async def test_a_foreign_page_gets_no_stream(ring: Ring) -> None:
    """Origin counts on every way to connect: 403 for a stream, an EventSource and a posted frame."""
    account = await guest(ring)
    for method, path in (
        ("POST", "/connection/http_stream"),
        ("GET", "/connection/sse?cf_connect={}"),
        ("POST", "/emulation"),
    ):
        for origin in ("http://evil.example", "null", f"{ring.page_url}.evil.example", ""):
            headers: dict[str, Any] = {"Origin": origin} | bearer(account)
            answer = await http(method, ring.gateway_url + path, headers=headers, content=b"{}")
            assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (403, None), (
                path,
                origin,
            )


async def test_the_logs_of_all_this_hold_no_token(ring: Ring, frames: Open) -> None:
    """At the level debug as well: grep for what looks like a token of any kind finds nothing."""
    account = await guest(ring)
    one = await frames(ring, additional_headers=bearer(account))
    await one.enter()
    await http("GET", f"{ring.auth_url}/me", headers=bearer(account))
    await one.close()
    await eventually(lambda: '"disconnected"' in logs(ring)["gateway.log"], "the end is logged")
    for name, text in logs(ring).items():
        assert not re.search(r"eyJ[A-Za-z0-9_-]{10,}\.", text), name
        assert account.refresh not in text, name
