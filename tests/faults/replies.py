"""What a gateway says, as far as a talker has to know it. Events stay as they came: 300,000 of them are held in a row.

Imports nothing of ours.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

EXPIRED = 109
_TEMPORARY = {EXPIRED, 111, 503}


class Refused(Exception):
    """A command was answered no."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error.get('message')}")
        self.code: int = error["code"]
        self.temporary = bool(error.get("temporary")) or self.code in _TEMPORARY


class Publication(msgspec.Struct):
    """An event of a room, undecoded."""

    data: msgspec.Raw
    offset: int = 0


class Push(msgspec.Struct):
    """What nobody asked for."""

    channel: str = ""
    pub: Publication | None = None
    unsubscribe: dict[str, Any] | None = None


class Followed(msgspec.Struct):
    """The answer to subscribe."""

    epoch: str
    offset: int = 0
    recovered: bool = False
    publications: Sequence[Publication] = ()


class Reply(msgspec.Struct):
    """Any line; one without anything is a ping."""

    id: int = 0
    push: Push | None = None
    error: dict[str, Any] | None = None
    connect: dict[str, Any] | None = None
    subscribe: Followed | None = None
    rpc: dict[str, Any] | None = None


decode = msgspec.json.Decoder(Reply).decode
