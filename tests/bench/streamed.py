"""A client over HTTP: an HTTP stream in one of three forms, and frames that are posted. Imports nothing of ours."""

import asyncio
import base64
import io
import itertools
import json
from collections.abc import Callable
from typing import Any, Self

import httpx
from centrifuge.protocol import client_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.proto import parse_length_prefixed

from tests.bench.clients import SECONDS, http, new_message_id
from tests.bench.ring import Ring

OCTETS = {"Content-Type": "application/octet-stream"}
FORMS = ("lines", "protobuf", "events")
Json = dict[str, Any]


class Streamed:
    """A client whose replies come as an HTTP stream, in one of `FORMS`; its frames are posted, each on a connection of
    its own, so that they reach any process. Data fields are JSON in every form."""

    def __init__(self, ring: Ring, form: str, pong: bool = True) -> None:
        self.ring, self.form, self.pong = ring, form, pong
        self.session = self.node = ""
        self.replies: dict[int, Json] = {}
        self.pushes: list[Json] = []
        self.pings = 0
        self.raw = self.all = b""
        """Bytes that were read: those not understood yet, and all."""
        self.head: httpx.Response | None = None
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether the response has ended."""
        return self._reader is not None and self._reader.done()

    async def open(self, headers: dict[str, str] | None = None, **connect: Any) -> Self:
        """Send connect, with these fields; return when the headers of the response are there."""
        frame = self.encode({"id": next(self._ids), "connect": connect})
        self._reader = asyncio.create_task(self._read(frame, headers or {}))
        await self.until(lambda: self.head, "headers")
        return self

    async def entered(self) -> bool:
        """Take note of where to post, as the connect reply says; False when a new process has no keys yet."""
        await self.until(lambda: 1 in self.replies, "a connect reply")
        if self.replies[1].get("error", {}).get("temporary"):
            return False
        result = self.replies[1]["connect"]
        self.session, self.node = result["session"], result["node"]
        return True

    def encode(self, command: Json) -> bytes:
        """Return a frame of one command."""
        if self.form != "protobuf":
            return json.dumps(command).encode()
        message = ParseDict(_bytes_for_json(command), pb.Command()).SerializeToString()
        return _varint(len(message)) + message

    async def post(self, frame: bytes, **changed: str) -> httpx.Response:
        """Post one frame for this session (or for another `node` or `session`)."""
        node, session = changed.get("node", self.node), changed.get("session", self.session)
        if self.form == "protobuf":
            fields = enumerate((node.encode(), session.encode(), frame), 1)
            body = b"".join(_varint(number << 3 | 2) + _varint(len(field)) + field for number, field in fields)
            return await http("POST", f"{self.ring.gateway_url}/emulation", content=body, headers=OCTETS)
        body = json.dumps({"node": node, "session": session, "data": frame.decode()}).encode()
        return await http("POST", f"{self.ring.gateway_url}/emulation", content=body)

    async def ask(self, **request: Any) -> Json:
        """Post one command; return its reply."""
        number = next(self._ids)
        answer = await self.post(self.encode({"id": number, **request}))
        assert (answer.status_code, answer.content) == (204, b"")
        await self.until(lambda: number in self.replies, f"a reply to command {number}")
        return self.replies[number]

    async def call(self, method: str, **body: Any) -> Json:
        """Call an RPC method; return its result."""
        reply = await self.ask(rpc={"method": method, "data": body})
        assert "rpc" in reply, reply
        result: Json = reply["rpc"]["data"]
        return result

    async def follow(self, room: str, **fields: Any) -> Json:
        """Subscribe to a room; return the result."""
        reply = await self.ask(subscribe={"channel": f"room:{room}", **fields})
        assert "subscribe" in reply, reply
        result: Json = reply["subscribe"]
        return result

    async def say(self, room: str, *texts: str) -> None:
        """Send messages."""
        for text in texts:
            await self.call("message.send", room=room, id=new_message_id(), text=text)

    @property
    def texts(self) -> list[str]:
        """The texts that were pushed."""
        return [push["pub"]["data"]["text"] for push in self.pushes if "text" in push.get("pub", {}).get("data", ())]

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
        """Return when `condition` is true; fail when the response ends first."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    assert not self.over, f"ended before {what}: {self.raw!r}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what}") from None

    async def end(self, seconds: float = SECONDS) -> tuple[int, str]:
        """Return code and reason of the last push, with which the server ends the response in good order."""
        assert self._reader is not None
        await asyncio.wait_for(asyncio.shield(self._reader), seconds)
        last = self.pushes[-1]["disconnect"]
        return last["code"], last["reason"]

    async def leave(self) -> None:
        """Break off."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _read(self, frame: bytes, headers: dict[str, str]) -> None:
        base = f"{self.ring.gateway_url}/connection/"
        request: Json = {"method": "POST", "url": base + "http_stream", "content": frame, "headers": headers}
        if self.form == "events":
            request = {
                "method": "GET",
                "url": base + "sse",
                "params": {"cf_connect": frame.decode()},
                "headers": headers,
            }
        elif self.form == "protobuf":
            request["headers"] = headers | OCTETS
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client, client.stream(**request) as answer:
                self.head = answer
                self._changed.set()
                async for piece in answer.aiter_bytes():
                    self.raw += piece
                    self.all += piece
                    await self._take_all()
                    self._changed.set()
        finally:
            self._changed.set()

    async def _take_all(self) -> None:
        """Take what is complete of what was read."""
        if self.form == "protobuf":
            while True:
                unread = io.BytesIO(self.raw)
                try:
                    message = parse_length_prefixed(pb.Reply, unread)
                except ValueError:
                    return  # cut short
                if message is None:
                    return
                self.raw = self.raw[unread.tell() :]
                await self._take(_json_for_bytes(MessageToDict(message, preserving_proto_field_name=True)))
        end = b"\n" if self.form == "lines" else b"\n\n"
        while end in self.raw:
            line, _, self.raw = self.raw.partition(end)
            if self.form == "events":
                assert line.startswith(b"data: ")
                line = line.removeprefix(b"data: ")
            await self._take(json.loads(line))

    async def _take(self, reply: Json) -> None:
        if not reply:
            self.pings += 1
            if self.pong:
                await self.post(b"\0" if self.form == "protobuf" else b"{}")
        elif "push" in reply:
            self.pushes.append(reply["push"])
        else:
            assert reply["id"] not in self.replies
            self.replies[reply["id"]] = reply


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


_BYTES = ("data", "conn_info", "chan_info")


def _bytes_for_json(value: Any) -> Any:
    """Return a command as Protobuf's own JSON form has it: bytes in base64, 64-bit numbers as they are."""
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(json.dumps(one).encode()).decode() if key in _BYTES else _bytes_for_json(one)
        for key, one in value.items()
    }


def _json_for_bytes(value: Any) -> Any:
    """Return a reply of Protobuf's own JSON form as the client protocol has it in JSON."""
    if isinstance(value, list):
        return [_json_for_bytes(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, one in value.items():
        if key in _BYTES:
            found[key] = json.loads(base64.b64decode(one))
        elif key == "offset":
            found[key] = int(one)  # 64-bit numbers are strings there
        else:
            found[key] = _json_for_bytes(one)
    return found
