"""Coming back to a channel: whoever was away gets exactly what was missed, or is told that this is not possible."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.bench import processes
from tests.bench.clients import Frames, eventually
from tests.bench.people import Person
from tests.bench.ring import Ring

Enter = Callable[..., Awaitable[Person]]
Open = Callable[..., Awaitable[Frames]]


@pytest.fixture
async def absent(strict_ring: Ring, entered: Open) -> tuple[Frames, str, dict[str, Any]]:
    """A speaker, a room, and the position of somebody (the speaker) who followed it and left."""
    one = await entered(strict_ring)
    room = await one.make_room()
    position = await one.follow(room)
    await one.ask(unsubscribe={"channel": f"room:{room}"})
    return one, room, position


async def recover(one: Frames, room: str, epoch: str, offset: int) -> dict[str, Any]:
    """Subscribe from a position; return the result."""
    reply = await one.ask(
        subscribe={"channel": f"room:{room}", "recover": True, "epoch": epoch, "offset": offset, "recoverable": True}
    )
    assert "subscribe" in reply, reply
    result: dict[str, Any] = reply["subscribe"]
    return result


def offsets(result: dict[str, Any]) -> list[int]:
    """Return the offsets that a subscribe result carries."""
    return [one["offset"] for one in result.get("publications", [])]


Absent = tuple[Frames, str, dict[str, Any]]


async def test_a_fresh_subscription_starts_at_the_top(absent: Absent) -> None:
    """Without recover the reply is the position and no publication."""
    _, _, position = absent
    assert position["recoverable"] is True
    assert position["positioned"] is True
    assert position["epoch"]
    assert position["offset"] == 2
    assert not position.keys() & {"publications", "recovered", "was_recovering"}


async def test_recovery_gives_exactly_what_was_missed(absent: Absent) -> None:
    """From epoch and offset a client gets each event after it, in order, then what is live, with nothing between."""
    one, room, position = absent
    await one.say(room, *"abcd")
    result = await recover(one, room, position["epoch"], 2)
    assert result["recovered"] is True
    assert result["was_recovering"] is True
    assert result["offset"] == 2
    assert offsets(result) == [3, 4, 5, 6]
    assert [publication["data"]["text"] for publication in result["publications"]] == ["a", "b", "c", "d"]
    assert result["publications"][0]["info"]["user"]
    await one.say(room, "z")
    await one.until(lambda: one.texts(room), "the live message arrives")
    assert [event["offset"] for event in one.events(room)] == [7]


async def test_recovery_of_nothing_succeeds(absent: Absent) -> None:
    """Who missed nothing is told so: recovered, without publications."""
    one, room, position = absent
    result = await recover(one, room, position["epoch"], position["offset"])
    assert (result["recovered"], result["offset"], offsets(result)) == (True, 2, [])


async def test_recovery_with_an_empty_epoch_takes_any(absent: Absent) -> None:
    """An empty epoch stands for the current one, also from offset 0 on."""
    one, room, position = absent
    await one.say(room, "z")
    result = await recover(one, room, "", 0)
    assert (result["recovered"], result["epoch"], offsets(result)) == (True, position["epoch"], [1, 2, 3])


@pytest.mark.parametrize(("epoch", "offset"), [("other", 2), ("_", 0), (None, 99)], ids=["other", "_", "future"])
async def test_recovery_from_an_unknown_position_fails(absent: Absent, epoch: str | None, offset: int) -> None:
    """Another epoch, or an offset from the future: not recovered, no publications, the current position."""
    one, room, position = absent
    await one.say(room, *"ab")
    result = await recover(one, room, position["epoch"] if epoch is None else epoch, offset)
    assert not result.get("recovered")
    assert result["was_recovering"] is True
    assert (result["epoch"], result["offset"], offsets(result)) == (position["epoch"], 4, [])


async def test_recovery_of_too_much_gives_no_part(absent: Absent) -> None:
    """Ten missed events (HISTORY_LIMIT) are recovered; with eleven none is sent."""
    one, room, position = absent
    await one.say(room, *"abcdefghij")
    result = await recover(one, room, position["epoch"], 2)
    assert (result["recovered"], offsets(result)) == (True, list(range(3, 13)))
    await one.ask(unsubscribe={"channel": f"room:{room}"})
    await one.say(room, "z")
    result = await recover(one, room, position["epoch"], 2)
    assert not result.get("recovered")
    assert (result["was_recovering"], result["offset"], offsets(result)) == (True, 13, [])


async def test_recovery_reads_the_log_when_the_gateway_is_new(strict_ring: Ring, entered: Open, absent: Absent) -> None:
    """After kill -9 of every gateway process, new ones recover clients from the log, which they never saw live."""
    one, room, position = absent
    await one.say(room, *"abcde")
    old = [strict_ring.pid_of("gateway"), *strict_ring.worker_pids()]
    for pid in old:
        processes.kill(pid)
    await one.end()

    async def back() -> bool:
        # Both of its workers, and not the process that was killed just now.
        return strict_ring.exit_code is None and not strict_ring.missing("gateway") and len(await workers()) == 2

    async def workers() -> list[int]:
        try:
            return [pid for pid in strict_ring.worker_pids() if pid not in old]
        except AssertionError:
            return []

    await eventually(back, "a new gateway is ready", 30, 0.1)
    again = await entered(strict_ring)
    await again.call("room.join", room=room)  # one event more: offset 8
    result = await recover(again, room, position["epoch"], 2)
    assert (result["recovered"], offsets(result)) == (True, [3, 4, 5, 6, 7, 8])
    await again.ask(unsubscribe={"channel": f"room:{room}"})
    result = await recover(again, room, position["epoch"], 5)
    assert (result["recovered"], offsets(result)) == (True, [6, 7, 8])
