"""Backup and restore, as docs/operations.md tells: into fresh servers, clients come back with old positions."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.clients import Account, Frames, eventually, http, registered
from tests.bench.fleet import Fleet
from tests.bench.nats import NatsServer
from tests.bench.people import Person
from tests.bench.postgres import Postgres, programs

Fleets = Callable[..., Fleet]
Servers = Callable[..., NatsServer]


def _postgres(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(programs() / program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PGCONNECT_TIMEOUT": "10"},
    )
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


def dump(url: str, file: Path) -> None:
    """Save a database, as the docs say."""
    _postgres("pg_dump", "--format=custom", "--no-owner", f"--file={file}", url)


def load(url: str, file: Path) -> None:
    """Fill an empty database from a file of `dump`, as the docs say."""
    _postgres("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={url}", str(file))


async def history(one: Frames, room: str) -> list[dict[str, Any]]:
    """Return every event of a room."""
    found: list[dict[str, Any]] = []
    while True:
        page = await one.call("room.history", room=room, limit=100, after=found[-1]["offset"] if found else 0)
        found += page["events"]
        if not page["more"]:
            return found


async def entered(fleet: Fleet, token: str) -> Frames:
    """Return a raw connection that was let in."""
    one = await Frames.open(fleet)
    await one.enter(token)
    return one


async def recover(fleet: Fleet, account: Account, room: str, position: dict[str, Any]) -> dict[str, Any]:
    """Come back with a position; return what the gateway answers."""
    async with await entered(fleet, account.access) as one:
        reply = await one.ask(
            subscribe={
                "channel": f"room:{room}",
                "recoverable": True,
                "recover": True,
                "epoch": position["epoch"],
                "offset": position["offset"],
            }
        )
        result: dict[str, Any] = reply["subscribe"]
        return result


async def position_of(fleet: Fleet, account: Account, room: str) -> dict[str, Any]:
    """Return epoch and offset of a room as they are now."""
    async with await entered(fleet, account.access) as one:
        result = (await one.ask(subscribe={"channel": f"room:{room}", "recoverable": True}))["subscribe"]
    return {"epoch": result["epoch"], "offset": result["offset"]}


class Before:
    """A system with a past, in which somebody goes on talking."""

    def __init__(self, fleet: Fleet, account: Account, room: str) -> None:
        self.fleet, self.account, self.room = fleet, account, room
        self.acknowledged: list[tuple[int, str]] = []

    @classmethod
    async def live(cls, fleet: Fleet) -> "Before":
        """Register somebody, who makes a room and says something."""
        account = await registered(fleet, "ann")
        async with await entered(fleet, account.access) as one:
            before = cls(fleet, account, await one.make_room("Life"))
            await before.say(one, 40)
            before.early = await position_of(fleet, account, before.room)
            await before.say(one, 10)
        return before

    async def say(self, one: Frames, count: int) -> None:
        """Send messages, each when the one before is acknowledged."""
        for _ in range(count):
            text = f"line {len(self.acknowledged)} é \U0001f680"
            self.acknowledged.append(((await one.say(self.room, text))[0], text))

    early: dict[str, Any]


async def say_during(before: Before, work: Callable[[], object]) -> int:
    """Do `work` in a thread while the talk goes on; return how many messages were acknowledged before it began."""
    began = len(before.acknowledged)
    async with await entered(before.fleet, before.account.access) as one:
        running = asyncio.create_task(asyncio.to_thread(work))
        while not running.done():
            await before.say(one, 1)
        await running
        await before.say(one, 5)
    return began


@pytest.mark.parametrize("archive", ["emptied", "restored"])
async def test_an_older_backup_is_an_honest_past(
    nats_server: Servers, postgres: Postgres, fleets: Fleets, tmp_path: Path, archive: str
) -> None:
    """Made while people talk, restored into fresh servers: what was acknowledged before is there under its offsets, old
    accounts and tokens are good, old positions are told to reload, sends go on, and history is what the log has."""
    old = nats_server()
    databases = {name: postgres.url() for name in ("AUTH_DATABASE_URL", "DATABASE_URL")}
    first = fleets(old.url, old.passwords, **databases).start()
    before = await Before.live(first)

    began = await say_during(before, lambda: first.operate("deploy.backup", "save", str(tmp_path / "backup")))
    for name, url in databases.items():
        dump(url, tmp_path / f"{name}.dump")
    async with await entered(first, before.account.access) as one:
        late = await position_of(first, before.account, before.room)
        old_log = await history(one, before.room)
    first.stop()
    old.kill()

    new = nats_server()
    fresh = {name: postgres.url() for name in databases}
    second = fleets(new.url, new.passwords, **fresh)
    assert "whole" in second.operate("deploy.backup", "check", str(tmp_path / "backup"))
    told = second.operate("deploy.backup", "restore", str(tmp_path / "backup"))
    assert "rebuild-archive" in told
    load(fresh["AUTH_DATABASE_URL"], tmp_path / "AUTH_DATABASE_URL.dump")
    if archive == "restored":
        load(fresh["DATABASE_URL"], tmp_path / "DATABASE_URL.dump")
        second.services["chat"].run("rebuild-archive")
    second.start()

    async with await entered(second, before.account.access) as one:  # the token of before: the key ring came along
        found = await history(one, before.room)
        assert found == old_log[: len(found)]
        stored = {event["offset"]: event.get("text") for event in found}
        assert [said for said in before.acknowledged[:began] if stored.get(said[0]) != said[1]] == []
        now = await position_of(second, before.account, before.room)
        assert now["epoch"] != late["epoch"]
        assert now["offset"] == len(found)
        # The late position was given anew meanwhile: by its number alone nobody could tell.
        assert len(await one.say(before.room, *(f"after {n}" for n in range(len(old_log) - len(found) + 3)))) > 3
        assert [event["offset"] for event in await history(one, before.room)] == list(range(1, len(old_log) + 4))
    for position in (before.early, late):
        result = await recover(second, before.account, before.room, position)
        assert not result.get("recovered"), result
        assert not result.get("publications"), result
        assert result["epoch"] == now["epoch"]
    login = {"username": before.account.name, "password": "correct horse battery"}
    assert (await http("POST", f"{second.auth_url}/login", json=login)).status_code == 200
    second.stop()


async def test_a_moved_system_goes_on_where_it_was(
    nats_server: Servers, postgres: Postgres, fleets: Fleets, tmp_path: Path
) -> None:
    """Saved after the services were stopped and restored with --moved, clients recover exactly what they missed."""
    old = nats_server()
    databases = {name: postgres.url() for name in ("AUTH_DATABASE_URL", "DATABASE_URL")}
    first = fleets(old.url, old.passwords, **databases).start()
    before = await Before.live(first)
    first.stop()
    first.operate("deploy.backup", "save", str(tmp_path / "backup"))
    old.stop()

    new = nats_server()
    second = fleets(new.url, new.passwords, **databases)
    second.operate("deploy.backup", "restore", "--moved", str(tmp_path / "backup"))
    second.start()

    result = await recover(second, before.account, before.room, before.early)
    assert result["recovered"], result
    offsets = [publication["offset"] for publication in result["publications"]]
    assert offsets == list(range(before.early["offset"] + 1, before.acknowledged[-1][0] + 1))
    person = await Person(second, before.account).connect()
    seat = await person.subscribe(before.room)
    said = await person.insist("still here", before.room)
    assert said.offset == before.acknowledged[-1][0] + 1
    await eventually(lambda: "still here" in seat.texts, "the message arrives")
    await person.leave()
    second.stop()


async def test_a_backup_that_is_not_whole_is_refused(nats_server: Servers, fleets: Fleets, tmp_path: Path) -> None:
    """A backup that broke off, one with a flipped bit, and one over streams that are there are refused, and say why."""
    server = nats_server()
    fleet = fleets(server.url, server.passwords).start()
    await Before.live(fleet)
    fleet.stop()
    backup = tmp_path / "backup"
    fleet.operate("deploy.backup", "save", str(backup))
    with pytest.raises(AssertionError, match="there already: USERS"):
        fleet.operate("deploy.backup", "restore", str(backup))
    fleet.operate("deploy.backup", "restore", "--replace", str(backup))

    file = backup / json.loads((backup / "manifest.json").read_text())["streams"]["ROOMS"]["file"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(AssertionError, match="damaged"):
        fleet.operate("deploy.backup", "restore", "--replace", str(backup))
    (backup / "manifest.json").unlink()
    with pytest.raises(AssertionError, match="unfinished"):
        fleet.operate("deploy.backup", "check", str(backup))
    fleet.services["chat"].run("rebuild-archive")  # after the one restore that went through
    fleet.start().stop()  # the refused ones left the streams as they were
