"""PostgreSQL's first start: the databases and roles that the services' addresses name."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.bench.postgres import Postgres, programs
from tests.manifests.objects import Manifests, Object


@pytest.fixture
def cluster() -> Postgres:
    """An empty PostgreSQL of this test alone, since roles are shared by all databases of one."""
    return Postgres()


def psql(cluster: Postgres, environment: Object, *words: str) -> subprocess.CompletedProcess[str]:
    """Run psql against it as its administrator."""
    return subprocess.run(
        [str(programs() / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-qAt", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_first_start_makes_what_the_services_use(local: Manifests, cluster: Postgres, tmp_path: Path) -> None:
    """Each service owns its database with the password of its own Secret, and cannot enter the other's."""
    script = tmp_path / "databases.sql"
    script.write_text(local.get("ConfigMap", "postgres")["data"]["databases.sql"])
    given = local.environment(local.workload("postgres").pod["containers"][0])
    try:
        cluster.start()
        made = psql(cluster, given, "--dbname", cluster.url("postgres"), "--file", str(script))
        assert made.returncode == 0, made.stderr
        for service, variable in (("auth", "AUTH_DATABASE_URL"), ("chat", "DATABASE_URL")):
            container = local.workload(service).pod["containers"][0]
            url = urlsplit(local.environment(container)[variable])
            assert (url.hostname, url.port, url.username, url.path) == ("postgres", 5432, service, f"/{service}")
            assert url.password == given[f"POSTGRES_{service.upper()}_PASSWORD"]
            here = f"postgresql://{service}:{url.password}@127.0.0.1:{cluster.port}/"
            assert psql(cluster, {}, "--dbname", f"{here}{service}", "--command", "CREATE TABLE t ()").returncode == 0
            for other in {"auth", "chat", "postgres"} - {service}:
                refused = psql(cluster, {}, "--dbname", f"{here}{other}", "--command", "SELECT 1")
                assert "permission denied for database" in refused.stderr
    finally:
        cluster.remove()
