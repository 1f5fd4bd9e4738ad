"""What a database does about its disk: when that is full, and when it is synced."""

from pathlib import Path

import pytest
from sqlalchemy import text

from chassis.database import Database, DatabaseUnavailable, database_url

FULL = "PRAGMA max_page_count=8"


async def test_sqlite_without_room_is_away(tmp_path: Path) -> None:
    """What cannot be written now may be written later: the caller is told so, and reads go on."""
    database = Database(database_url(f"sqlite:///{tmp_path / 'small.db'}", tmp_path, "test"))

    async def write(size: int) -> None:
        async with database.begin() as connection:
            await connection.execute(text(FULL))
            await connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": "x" * size})

    try:
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE notes (note TEXT)"))
        await write(10)
        with pytest.raises(DatabaseUnavailable):
            await write(100_000)
        async with database.begin() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM notes"))).scalar_one() == 1
    finally:
        await database.close()


@pytest.mark.parametrize(("derived", "synchronous"), [(False, 2), (True, 1)])
async def test_sqlite_syncs_what_cannot_be_made_again(tmp_path: Path, *, derived: bool, synchronous: int) -> None:
    """Every commit is synced (FULL), unless the log can make it again (NORMAL)."""
    database = Database(database_url(f"sqlite:///{tmp_path / 'some.db'}", tmp_path, "test"), derived=derived)
    try:
        async with database.begin() as connection:
            assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == synchronous
    finally:
        await database.close()
