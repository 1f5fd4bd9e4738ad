"""What the proxy lets through, and what it keeps inside."""

import asyncio
import itertools
import json
import time
from typing import Any

import httpx

from tests.bench.clients import Account, eventually, http, new_message_id
from tests.compose.stack import Stack

INSIDE = ("/metrics", "/metrics/", "/health/live", "/health/ready", "/health/started", "//metrics", "/auth/../metrics")
"""Paths that nobody outside may read: services answer them on ports of their own."""
MOST_GUESSES = 200
"""Auth allows 30 at once and one more every 2 s."""
PROMPT_SECONDS = 2.0
"""A stream that a proxy buffers comes at its end, or never."""


async def paths(stack: Stack) -> str:
    """Ask for the page, its configuration, keys and the server API, and for what must stay inside."""
    base = stack.gateway_url
    page = await http("GET", f"{base}/")
    assert page.status_code == 200, page
    assert "<script" in page.text, page.text
    policy = page.headers["content-security-policy"]
    assert "connect-src 'self' ws://localhost:8080" in policy, policy
    config = (await http("GET", f"{base}/config.json")).json()
    assert (config["auth_url"], config["websocket_url"]) == ("/auth", "/connection/websocket"), config
    assert (await http("GET", f"{base}/.well-known/jwks.json")).json()["keys"]
    for path in INSIDE:
        answer = await http("GET", httpx.URL(base).copy_with(raw_path=path.encode()))
        assert answer.status_code == 404, f"{path} is answered {answer.status_code}: {answer.text[:200]}"
    assert (await http("POST", f"{base}/api/info", json={})).status_code == 401
    key = (stack.directory / "secrets" / "api_key").read_text()
    info = await http("POST", f"{base}/api/info", json={}, headers={"X-API-Key": key})
    nodes = info.json()["result"]["nodes"]
    assert len(nodes) == 2, info.text
    return f"page, /config.json, keys and /api ({len(nodes)} nodes); {len(INSIDE)} inner paths answered 404"


async def addresses(stack: Stack) -> str:
    """Guess passwords from one address, which pretends to be many, until it is refused; another is not."""

    async def guess(source: str, number: int) -> int:
        transport = httpx.AsyncHTTPTransport(local_address=source)
        async with httpx.AsyncClient(transport=transport, timeout=10) as client:
            body = {"username": f"nobody{number}", "password": "a wrong password"}
            pretended = {"X-Forwarded-For": f"203.0.113.{number}"}
            answer = await client.post(f"{stack.auth_url}/login", json=body, headers=pretended)
            return answer.status_code

    guesses = 0
    while (status := await guess("127.77.0.201", guesses)) != 429:
        assert status in (401, 503), f"a wrong password is answered {status}"
        guesses += 1
        assert guesses < MOST_GUESSES, "whoever pretends to be many addresses may guess passwords for ever"
    assert (status := await guess("127.77.0.202", 0)) == 401, f"another address is answered {status}"
    return f"after {guesses} wrong passwords an address is refused, whatever X-Forwarded-For it sends; another is not"


class Stream:
    """One client whose replies come over http_stream, in JSON."""

    def __init__(self, stack: Stack) -> None:
        self._base = stack.gateway_url
        self._ids = itertools.count(1)
        self.replies: dict[int, Any] = {}
        self.heard: dict[str, float] = {}
        """Text of a message to when it came."""
        self._changed = asyncio.Event()
        self._post_to: dict[str, str] = {}

    async def run(self, account: Account) -> None:
        """Connect, and read until cancelled."""
        frame = json.dumps({"id": next(self._ids), "connect": {"token": account.access}})
        url = f"{self._base}/connection/http_stream"
        client = httpx.AsyncClient(trust_env=False, timeout=60)
        async with client, client.stream("POST", url, content=frame) as answer:
            assert answer.status_code == 200, answer
            async for line in answer.aiter_lines():
                self._take(json.loads(line))

    def _take(self, reply: dict[str, Any]) -> None:
        if "push" in reply:
            text = reply["push"].get("pub", {}).get("data", {}).get("text")
            if text:
                self.heard[text] = time.monotonic()
        elif "id" in reply:
            self.replies[reply["id"]] = reply
        self._changed.set()

    async def until(self, condition: Any, what: str) -> None:
        """Return when `condition()` is true; fail after a bound that no buffer would keep."""
        try:
            async with asyncio.timeout(10):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"the stream did not bring {what}") from None

    async def ask(self, **command: Any) -> Any:
        """Post one command by whichever gateway the proxy chooses; return its reply."""
        if not self._post_to:
            await self.until(lambda: 1 in self.replies, "a connect reply")
            connected = self.replies[1]["connect"]
            self._post_to = {"node": connected["node"], "session": connected["session"]}
        number = next(self._ids)
        body = self._post_to | {"data": json.dumps({"id": number, **command})}

        async def posted() -> bool:
            # 503: for a moment no gateway was ready, so nothing was done.
            answer = await http("POST", f"{self._base}/emulation", content=json.dumps(body))
            assert answer.status_code in (204, 503), f"a frame is answered {answer.status_code}: {answer.text}"
            return answer.status_code == 204

        await eventually(posted, "a posted frame is taken", every=0.2)
        await self.until(lambda: number in self.replies, f"a reply to {command}")
        return self.replies[number]


async def stream(stack: Stack, account: Account, room: str) -> str:
    """Chat over an HTTP stream through the proxy: nothing on the way keeps bytes back."""
    one = Stream(stack)
    reading = asyncio.create_task(one.run(account))
    try:
        await one.ask(rpc={"method": "room.join", "data": {"room": room}})
        await one.ask(subscribe={"channel": f"room:{room}"})
        longest = 0.0
        for number in range(10):
            text = f"over a stream {number}"
            sent = time.monotonic()
            said = {"room": room, "id": new_message_id(), "text": text}
            await one.ask(rpc={"method": "message.send", "data": said})
            await one.until(lambda text=text: text in one.heard, text)
            longest = max(longest, one.heard[text] - sent)
        assert longest < PROMPT_SECONDS, f"a message took {longest:.1f} s: something buffers"
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    return f"10 messages, the slowest back after {longest * 1000:.0f} ms"
