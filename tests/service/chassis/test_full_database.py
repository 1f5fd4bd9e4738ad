"""A database that has no room left is away, not broken."""

from pathlib import Path

import pytest
from sqlalchemy import text

from chassis.database import Database, DatabaseUnavailable


async def test_sqlite_without_room_is_away(tmp_path: Path) -> None:
    """What cannot be written now may be written later: the caller is told so, and reads go on."""
    database = Database(f"sqlite:///{tmp_path / 'small.db'}")
    try:
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE notes (note TEXT)"))
            await connection.execute(text("PRAGMA max_page_count=8"))
        with pytest.raises(DatabaseUnavailable):
            async with database.begin() as connection:
                await connection.execute(text("PRAGMA max_page_count=8"))
                await connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": "x" * 100_000})
        async with database.begin() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM notes"))).scalar_one() == 0
    finally:
        await database.close()
