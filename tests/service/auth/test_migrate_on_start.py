"""Who makes the auth service's tables: the service at its start, or a job before it; and any number of such jobs."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import text

from auth_service.app import MIGRATIONS, open_database
from auth_service.models import VERSION_TABLE
from auth_service.settings import Settings
from chassis.database import BEHIND, Database
from chassis.settings import environment
from tests.bench.nats import ROOT
from tests.bench.postgres import Postgres
from tests.service.auth.conftest import Services
from tests.service.auth.running import Running, eventually

MADE = "auth: the schema went from nothing to 0002: 0001 "
DONE = "auth: the schema is up to date (0002); nothing was changed\n"


def database_at(url: str) -> Database:
    """Return the service's database at `url`."""
    return open_database(Settings(auth_database_url=SecretStr(url)))


def migrate(url: str, tmp_path: Path, command: str = "migrate", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m auth_service migrate` (or another command) to its end."""
    return subprocess.run(
        [sys.executable, "-m", "auth_service", command],
        cwd=ROOT,
        env={**environment(), "AUTH_DATABASE_URL": url, "DATA_DIR": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def test_a_service_that_may_not_migrate_waits(services: Services, database_url: str, tmp_path: Path) -> None:
    """It changes nothing, lives, and says what it waits for; after the job it goes on by itself."""
    database = database_at(database_url)
    try:
        running = await services(auth_database_url=database_url, migrate_on_start=False, prepared=False)

        async def waits() -> bool:
            return (await running.missing()).get("database") == BEHIND

        await eventually(waits, "it says what it waits for")
        assert (await running.client.get("/health/live")).status_code == 200
        rotated = migrate(database_url, tmp_path, "rotate-keys", MIGRATE_ON_START="false")
        assert (rotated.returncode, rotated.stderr) == (1, f"parley: {BEHIND}\n")
        assert (await database.schema(MIGRATIONS, VERSION_TABLE)).found == "", "nothing was made"

        done = migrate(database_url, tmp_path)
        assert done.returncode == 0
        assert done.stdout.startswith(MADE)
        await eventually(lambda: prepared(running), "it goes on", 30)
        await running.guest()
    finally:
        await database.close()


async def test_a_newer_schema_serves_too(services: Services, database_url: str, tmp_path: Path) -> None:
    """After a rollback of the service alone, it runs on the tables of the later version and leaves them as they are."""
    database = database_at(database_url)
    try:
        await database.migrate(MIGRATIONS, VERSION_TABLE)
        async with database.begin() as connection:
            later = f"UPDATE {VERSION_TABLE} SET version_num = '9999'"  # noqa: S608  # a constant
            await connection.execute(text(later))
        done = migrate(database_url, tmp_path)
        newer = "auth: the schema (9999) is newer than this version (0002); nothing was changed\n"
        assert (done.returncode, done.stdout) == (0, newer)
        for may_migrate in (True, False):
            running = await services(auth_database_url=database_url, migrate_on_start=may_migrate)
            assert (await running.guest())["access_token"]
        assert (await database.schema(MIGRATIONS, VERSION_TABLE)).found == "9999"
    finally:
        await database.close()


async def prepared(running: Running) -> bool:
    """Tell whether nothing of what the database is needed for is missing."""
    return not {"database", "keys"} & set(await running.missing())


def test_several_at_once_make_the_tables_once(postgres: Postgres, tmp_path: Path) -> None:
    """Of jobs that start together on PostgreSQL one does the work, and all say truly what they did."""
    url = postgres.url()
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(url, tmp_path), range(4)))
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    assert sorted(one.stdout == DONE for one in done) == [False, True, True, True]
    [made] = [one.stdout for one in done if one.stdout != DONE]
    assert made.startswith(MADE)
    assert migrate(url, tmp_path).stdout == DONE


def test_a_database_that_is_away_ends_the_job(free_port: Callable[[], int], tmp_path: Path) -> None:
    """With one line and exit code 1, for whoever runs it to try again."""
    done = migrate(f"postgresql://nobody@127.0.0.1:{free_port()}/none", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("parley: the database cannot be reached")
    assert "Traceback" not in done.stderr
