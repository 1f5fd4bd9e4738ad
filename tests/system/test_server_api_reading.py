"""Reading by the server API: history, presence and counts are those of all gateway processes, whichever is asked."""

from typing import Any

import pytest

from tests.bench.clients import eventually
from tests.bench.people import person
from tests.bench.ring import Ring
from tests.bench.server_api import ask, code, fresh
from tests.bench.users import Crowd


@pytest.fixture(scope="module")
def ring(api_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return api_ring


async def test_history_is_read_in_both_directions(ring: Ring) -> None:
    """Limits, positions and directions give what the client protocol gives; without a limit the position only."""
    channel = fresh()
    epoch = ""
    for n in range(1, 6):
        epoch = (await ask(ring, "publish", channel=channel, data=n))["epoch"]

    async def offsets(**fields: Any) -> list[int]:
        result = await ask(ring, "history", channel=channel, **fields)
        assert (result["offset"], result["epoch"]) == (5, epoch)
        assert [one["data"] for one in result["publications"]] == [one["offset"] for one in result["publications"]]
        return [one["offset"] for one in result["publications"]]

    for _ in range(4):  # either process
        assert await offsets() == []
        assert await offsets(limit=2) == [1, 2]
        assert await offsets(limit=-1) == [1, 2, 3, 4, 5]
        assert await offsets(limit=2, reverse=True) == [5, 4]
        assert await offsets(limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
        assert await offsets(limit=9, since={"offset": 3, "epoch": epoch}, reverse=True) == [2, 1]
    assert await code(ring, "history", channel=channel, limit=1, since={"offset": 1, "epoch": "other"}) == 112
    assert await code(ring, "history", channel=f"quiet:{fresh('')}", limit=1) == 108
    assert await code(ring, "history", channel="room:nosuchroom", limit=1) == 102
    small = f"smallhistory:{fresh('')}"
    for n in range(5):
        await ask(ring, "publish", channel=small, data=n)
    assert [one["offset"] for one in (await ask(ring, "history", channel=small, limit=10))["publications"]] == [4, 5]


async def test_a_room_can_be_read_and_not_written(ring: Ring) -> None:
    """What was said in a room stands in its history with its events; presence lists its people."""
    ann = await person(ring)
    try:
        room = await ann.make_room()
        await ann.follow(room)
        await ann.say("hello", room)
        history = (await ask(ring, "history", channel=f"room:{room}", limit=10))["publications"]
        assert [one["data"]["type"] for one in history][-1] == "message"
        assert history[-1]["data"]["text"] == "hello"

        async def present() -> Any:
            return (await ask(ring, "presence", channel=f"room:{room}"))["presence"]

        found = await eventually(present, "presence in the room")
        assert [info["user"] for info in found.values()] == [ann.account.id]
    finally:
        await ann.leave()


async def test_presence_lists_the_clients_of_both_processes(ring: Ring, crowd: Crowd) -> None:
    """Everybody who follows a channel is there, with client and user id and what the token says; stats count them."""
    channel = fresh()
    everybody = [*await crowd.on_both("ann"), await crowd.come("bob")]
    for one in everybody:
        await one.follow(channel)
    expected = {
        one.ids[-1]: {"user": one.user, "client": one.ids[-1], "conn_info": {"name": one.user}} for one in everybody
    }
    for _ in range(4):  # either process

        async def complete() -> bool:
            return bool((await ask(ring, "presence", channel=channel))["presence"] == expected)

        await eventually(complete, "everybody is present")
        stats = await ask(ring, "presence_stats", channel=channel)
        assert stats == {"num_clients": len(everybody), "num_users": 2}
    assert await code(ring, "presence", channel="smallhistory:x") == 108
    assert await code(ring, "presence_stats", channel="nowhere:x") == 102
    assert (await ask(ring, "presence", channel=fresh()))["presence"] == {}


async def test_info_counts_every_process(ring: Ring, crowd: Crowd) -> None:
    """Whichever process is asked tells of both: their clients, users, channels and subscriptions."""
    anns = await crowd.on_both("ann")
    await crowd.come("bob")
    one, other = fresh(), fresh()
    for ann in anns:
        await ann.follow(one)
    await anns[0].follow(other)
    for _ in range(6):
        nodes = await crowd.nodes()
        assert len({node["uid"] for node in nodes}) == len({node["name"] for node in nodes}) == 2
        assert sum(node["num_clients"] for node in nodes) == len(anns) + 1
        assert sum(node["num_users"] for node in nodes) == 3  # ann on both, bob on one
        assert sum(node["num_channels"] for node in nodes) == 3
        assert sum(node["num_subs"] for node in nodes) == len(anns) + 1
        assert all(node["version"] and node["uptime"] >= 0 for node in nodes)
