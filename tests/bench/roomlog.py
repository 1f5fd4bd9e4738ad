"""The log of a room as NATS has it, read past every service of ours. Imports nothing of ours."""

import asyncio
import json
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

BATCH = 1000
SECONDS = 30


class RoomLogs:
    """A connection to NATS with the chat service's password: `async with RoomLogs(url, password) as logs`."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._password = password
        self._client: Client | None = None
        self._next: dict[str, int] = {}
        """Subject to the sequence number behind the last record that was read."""
        self.may_be_gone = False
        """Whether a stream that is not there counts as empty."""

    async def __aenter__(self) -> "RoomLogs":
        self._client = await nats.connect(
            self._url.split(","),
            user="chat",
            password=self._password,
            inbox_prefix="_INBOX_chat",  # type: ignore[arg-type]
            connect_timeout=10,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None, "not connected"
        await self._client.close()

    async def publish(self, subject: str, body: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Store something under a subject of a stream; return what NATS answers."""
        assert self._client is not None, "not connected"
        answer = await self._client.request(subject, body, timeout=10, headers=headers)
        stored: dict[str, Any] = json.loads(answer.data)
        return stored

    async def of_room(self, room: str) -> list[dict[str, Any]]:
        """Return all events of a room, in order; records without an offset are none."""
        self._next.pop(f"room.{room}.log", None)
        return await self.more_of_room(room)

    async def more_of_room(self, room: str) -> list[dict[str, Any]]:
        """Return the events of a room that have come since this was last asked; all of them the first time."""
        records = await self._records(f"room.{room}.log")
        return [
            json.loads(one.data) for one in records if (one.headers or {}).get("Parley-Offset", "") not in ("", "0")
        ]

    async def _records(self, subject: str) -> list[Msg]:
        found: list[Msg] = []
        more = True
        while more:
            part, more = await self._batch(subject, self._next.get(subject, 1))
            found += part
            if part:
                self._next[subject] = int((part[-1].headers or {})["Nats-Sequence"]) + 1
        return found

    async def _batch(self, subject: str, sequence: int) -> tuple[list[Msg], bool]:
        assert self._client is not None, "not connected"
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        part: list[Msg] = []
        try:
            query = {"seq": sequence, "next_by_subj": subject, "batch": BATCH}
            await self._client.publish("$JS.API.DIRECT.GET.ROOMS", json.dumps(query).encode(), reply=inbox)
            while True:
                async with asyncio.timeout(SECONDS):
                    message = await subscription.next_msg(timeout=SECONDS)
                headers = message.headers or {}
                if "Status" in headers:
                    nobody = ("503",) if self.may_be_gone else ()
                    assert headers["Status"] in ("204", "404", *nobody), headers
                    return part, headers["Status"] == "204" and int(headers.get("Nats-Num-Pending", "0")) > 0
                part.append(message)
        finally:
            await subscription.unsubscribe()


async def set_duplicate_window(url: str, password: str, seconds: float) -> None:
    """Change how long NATS knows the ids of messages; `password` is the operator's."""
    client = await nats.connect(url, user="operator", password=password, inbox_prefix="_INBOX_operator")  # type: ignore[arg-type]
    try:
        info = json.loads((await client.request("$JS.API.STREAM.INFO.ROOMS", b"", timeout=10)).data)
        config = info["config"] | {"duplicate_window": int(seconds * 1e9)}
        answer = await client.request("$JS.API.STREAM.UPDATE.ROOMS", json.dumps(config).encode(), timeout=10)
        assert "error" not in json.loads(answer.data), answer.data
    finally:
        await client.close()
