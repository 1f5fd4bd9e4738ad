"""Records that are no events, at the end of a room's log and in its midst, and a gateway that has to read there."""

from pathlib import Path

import pytest

from tests.bench.beside import GatewayBeside
from tests.bench.clients import Frames, guest
from tests.bench.ring import Ring
from tests.bench.roomlog import RoomLogs

POISON: tuple[tuple[bytes, dict[str, str] | None], ...] = (
    (b"{not json", None),
    (b"\xff\xfe\x00", {"Parley-Offset": ""}),
    (b"[]", {"Parley-Offset": "0"}),
    (b"[]", {"Parley-Offset": "-7"}),
    (b"[]", {"Parley-Offset": "1e3"}),
    (b"[]", {"Parley-Offset": "9" * 400}),
)


def logs_of(ring: Ring) -> RoomLogs:
    """Return a connection that writes into the log of rooms as no service of ours does."""
    lines = (ring.directory / "secrets" / "nats.env").read_text().splitlines()
    password = dict(line.split("=", 1) for line in lines)["NATS_CHAT_PASSWORD"]
    return RoomLogs(f"nats://127.0.0.1:{ring.ports['nats']}", password)


def offsets(one: Frames, room: str) -> list[int]:
    """Return the offsets of what was pushed."""
    return [push["pub"]["offset"] for push in one.pushes if push.get("channel") == f"room:{room}" and "pub" in push]


@pytest.mark.parametrize("messages", [3, 300])
async def test_a_gateway_that_reads_there_passes_them_by(ring: Ring, tmp_path: Path, messages: int) -> None:
    """A gateway that knows nothing of the room finds its end, recovers who was away, and goes on with what comes; 300
    messages are more than it reads in one go or finds without a search."""
    account = await guest(ring)
    async with await Frames.open(ring) as author:
        await author.enter(account.access)
        room = await author.make_room()
        said = await author.say(room, *(f"message {number}" for number in range(messages)))
        async with logs_of(ring) as logs:
            for body, headers in POISON:
                assert "seq" in await logs.publish(f"room.{room}.log", body, headers)
            said += await author.say(room, "between")
            for body, headers in POISON:
                assert "seq" in await logs.publish(f"room.{room}.log", body, headers)
        url = f"nats://127.0.0.1:{ring.ports['nats']}"
        with GatewayBeside(ring, url, GATEWAY_WORKERS="1") as gateway:
            async with await Frames.open(gateway) as reader:  # type: ignore[arg-type]
                await reader.enter(account.access)
                fresh = (await reader.ask(subscribe={"channel": f"room:{room}"}))["subscribe"]
                assert fresh["offset"] == said[-1]
                await reader.ask(unsubscribe={"channel": f"room:{room}"})
                asked = {"channel": f"room:{room}", "recover": True, "epoch": fresh["epoch"], "offset": said[0]}
                result = (await reader.ask(subscribe=asked))["subscribe"]
                assert result["recovered"], result
                assert [one["offset"] for one in result["publications"]] == said[1:]
                said += await author.say(room, "the last")
                await reader.until(lambda: offsets(reader, room)[-1:] == said[-1:], "the last is heard")
                assert offsets(reader, room) == said[-1:]
