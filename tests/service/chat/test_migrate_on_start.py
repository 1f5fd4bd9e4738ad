"""Who makes the archive's tables: the chat service at its start, or a job before it."""

from pathlib import Path

from protocol import codes
from protocol.commands import Refusal
from tests.bench.nats import NatsServer
from tests.bench.ports import wait_until
from tests.service.chat.replica import ADA, GENERAL, Asker, Replica


async def test_a_service_that_may_not_migrate_waits(
    nats: NatsServer, database: str, asker: Asker, tmp_path: Path
) -> None:
    """Messages are stored meanwhile; history waits for the job, after which it has everything."""
    replica = Replica(tmp_path / "chat", nats, {"DATABASE_URL": database, "MIGRATE_ON_START": "false"})
    try:
        replica.launch()
        wait_until(
            lambda: replica.missing().get("database") == "schema is behind: run migrate",
            "it says what it waits for",
            60,
        )
        assert replica.page("/health/live")[0] == 200
        await asker.insist(ADA, "room.join", room=GENERAL)
        await asker.send(ADA, GENERAL, "before")
        read = await asker.ask(ADA, "room.history", room=GENERAL)
        assert isinstance(read, Refusal)
        assert read.code == codes.UNAVAILABLE.code

        Replica(tmp_path / "job", nats, {"DATABASE_URL": database}).run("migrate")
        replica.wait_until_ready(60)
        found = await asker.insist(ADA, "room.history", room=GENERAL)
        assert [event["id"] for event in found["events"] if event["type"] == "message"] == ["before"]
    finally:
        replica.end()
