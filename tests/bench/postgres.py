"""A real PostgreSQL cluster of its own in a temporary directory, on a free port."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.ports import free_port, wait_until


def programs() -> Path:
    """Return the directory of PostgreSQL's server programs: Debian's newest, else that of `initdb` in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    beside = shutil.which("initdb")
    assert found or beside, "PostgreSQL's server programs are missing: apt-get install postgresql"
    return found[-1].parent if found else Path(str(beside)).parent


class Postgres:
    """One cluster. `kill` and `start` keep port and content. PostgreSQL refuses root, so root runs it as `postgres`."""

    def __init__(self) -> None:
        self.port = free_port()
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        # pytest's directories can be entered by their owner only, and that may be root.
        self._directory = Path(tempfile.mkdtemp(prefix="parley-postgres-"))
        if self._as:
            shutil.chown(self._directory, "postgres", "postgres")
        self.log = self._directory / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", f"--pgdata={self.cluster}", *options)

    @property
    def cluster(self) -> Path:
        """The directory of its files."""
        return self._directory / "cluster"

    @property
    def running(self) -> bool:
        """Whether the server's main process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> "Postgres":
        """Start the server and return when it takes queries."""
        assert not self.running, "runs already"
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._directory),
            "fsync": "off",  # it need not survive a power cut, only a kill
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(programs() / "postgres"), "-D", str(self.cluster), "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                **self._as,  # type: ignore[call-overload]
            )
        wait_until(lambda: self._ready() or not self.running, "PostgreSQL takes queries", 30)
        assert self.running, f"PostgreSQL ended:\n{self.log.read_text()}"
        return self

    def url(self, database: str = "", create: str = "") -> str:
        """Return a postgresql:// URL: of `database`, of a new empty one called `create`, or of a new empty one."""
        if not database:
            self._databases += 1
            database = create or f"test{self._databases}"
            self._run("createdb", *self._address, database)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def _address(self) -> list[str]:
        return ["--host=127.0.0.1", f"--port={self.port}", "--username=postgres"]

    def size(self, database: str) -> int:
        """Return the bytes of a database, tables and indexes."""
        asked = f"SELECT pg_database_size('{database}')"  # a name of a test
        return int(self._run("psql", *self._address, "-tA", f"--command={asked}", "postgres"))

    def kill(self) -> None:
        """End it as a crash does: all its processes, at once, nothing written."""
        if self._process is not None:
            self._run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.cluster}")
            self._process.wait(10)

    def stop(self) -> None:
        """End it orderly, whoever is connected."""
        if self._process is not None and self.running:
            self._run("pg_ctl", "stop", "--mode=fast", f"--pgdata={self.cluster}")
            self._process.wait(10)

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self._directory)

    def _ready(self) -> bool:
        command = [str(programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *options: str) -> str:
        done = subprocess.run(
            [str(programs() / program), *options],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._directory,
            timeout=60,
            **self._as,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout
