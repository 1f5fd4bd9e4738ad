"""What concerns one user, told on the user's own channel: membership, read markers of other devices, ended sessions.

A user's log is numbered like a room's, by compare-and-set. Notices of membership follow from the room log: they are
written by the archiver before it moves on, under an id that makes the second attempt (another replica, a restart) count
once; so they are late after an outage, but not lost. Events older than `TELL_SECONDS` are history, not news: making the
archive anew tells nobody anything.
"""

import time
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from chassis.appends import Conflict
from chassis.bus import Bus, Unavailable
from chassis.streams import Stream
from protocol import events, subjects
from protocol.events import Event
from protocol.names import user_channel

TELL_SECONDS = 300
TRIES = 16
DUPLICATE_WINDOW_SECONDS = 600


class Notice(msgspec.Struct, kw_only=True):
    """One event of a user's channel.

    `number` is the message number up to which `room` was read; `session` ended for `reason`.
    """

    v: int = events.VERSION
    type: str
    time: int
    room: str | UnsetType = UNSET
    number: int | UnsetType = UNSET
    session: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Notices:
    """The only writer of user logs."""

    def __init__(self, bus: Bus, replicas: int) -> None:
        self._stream = Stream(bus, subjects.USERS_STREAM)
        self._config = {
            "subjects": [subjects.USER_LOGS],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 300,
            "num_replicas": replicas,
            "allow_direct": True,
            "duplicate_window": DUPLICATE_WINDOW_SECONDS * 1_000_000_000,
            "republish": {"src": subjects.USER_LOGS, "dest": subjects.USER_REPUBLISH_TO},
        }

    async def open(self) -> None:
        """Make or find the stream; raise `Unavailable`."""
        await self._stream.ensure(**self._config)

    async def tell_members(self, happened: Sequence[Event]) -> None:
        """Tell those who joined or left a room; raise `Unavailable` when that cannot be done now."""
        oldest = (time.time() - TELL_SECONDS) * 1000
        for event in happened:
            if event.type in (events.JOINED, events.LEFT) and event.time >= oldest:
                notice = Notice(type=event.type, room=event.room, time=event.time)
                await self._append(event.user.id, notice, f"{event.room}.{event.offset}")

    async def tell_read(self, user: str, room: str, number: int, now: int) -> None:
        """Tell the user's other devices up to which message number a room was read."""
        await self._append(user, Notice(type="read", room=room, time=now, number=number), None)

    async def tell_revoked(self, user: str, session: str, reason: str, at: int) -> None:
        """Tell the user's other devices that `session` was ended `at` (milliseconds); once, however often called."""
        notice = Notice(type="revoked", time=at, session=session, reason=reason)
        await self._append(user, notice, f"revoked.{session}")

    async def _append(self, user: str, notice: Notice, key: str | None) -> None:
        log = subjects.address(user_channel(user)).log
        body = msgspec.json.encode(notice)
        for _ in range(TRIES):
            last = await self._stream.last(log)
            headers = {
                subjects.OFFSET: str(last.offset + 1 if last else 1),
                subjects.EVENT_TYPE: notice.type,
                subjects.USER: user,
            }
            try:
                await self._stream.append(
                    log,
                    body,
                    headers,
                    expected_last=last.sequence if last else 0,
                    message_id=f"{user}.{key}" if key else None,
                )
                return
            except Conflict:
                continue
        raise Unavailable("others were faster each time")
