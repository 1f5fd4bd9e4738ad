"""`make run` as an operator lives with it: refusals before anything starts, stopping, crashes, second starts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench import processes
from tests.bench.ports import free_port, wait_until
from tests.bench.ring import ROOT, Ring

Rings = Callable[..., Ring]
PARTS = ("nats", "auth", "chat", "gateway")


def refused(ring: Ring) -> str:
    """Launch `ring`; return the one line with which it refuses to start. Nothing may have been started."""
    code = ring.launch().wait_for_exit(20)
    lines = ring.output.splitlines()
    assert code == 2, ring.output
    assert len(lines) == 1, lines
    assert not ring.processes()
    assert not (ring.directory / "logs").exists()
    return lines[0]


@pytest.fixture
def listener() -> Iterator[Callable[[str, int], None]]:
    """Take ports: `listener(host, port)`."""
    taken: list[socket.socket] = []

    def take(host: str, port: int) -> None:
        taken.append(socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET))

    yield take
    for one in taken:
        one.close()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named(rings: Rings, listener: Callable[[str, int], None], part: str, host: str) -> None:
    """A port that somebody listens on is named with its setting and its address, and nothing starts."""
    ring = rings()
    listener(host, ring.ports[part])
    line = refused(ring)
    assert f"port {ring.ports[part]} ({part.upper()}_PORT) is taken on 127.0.0.1" in line


def test_a_port_taken_where_localhost_leads_is_named(rings: Rings, listener: Callable[[str, int], None]) -> None:
    """A stranger on ::1 would get the visitors of http://localhost, so it counts as taking the port."""
    ring = rings()
    listener("::1", ring.ports["gateway"])
    assert f"port {ring.ports['gateway']} (GATEWAY_PORT) is taken on ::1" in refused(ring)


def test_one_port_for_two_parts_is_named(rings: Rings) -> None:
    """Two parts cannot have one port, and the line names both settings."""
    port = str(free_port())
    line = refused(rings(AUTH_PORT=port, CHAT_PORT=port))
    assert "AUTH_PORT" in line
    assert "CHAT_PORT" in line


def test_a_directory_below_a_file_is_named(rings: Rings, tmp_path: Path) -> None:
    """A data directory that cannot be made is named with the reason."""
    (tmp_path / "file").write_text("")
    line = refused(rings(DATA_DIR=str(tmp_path / "file" / "data")))
    assert f"DATA_DIR={tmp_path / 'file' / 'data'}" in line
    assert "Not a directory" in line


def test_a_file_as_directory_is_named(rings: Rings, tmp_path: Path) -> None:
    """A data directory that is a file is named with the reason."""
    (tmp_path / "file").write_text("")
    line = refused(rings(DATA_DIR=str(tmp_path / "file")))
    assert f"DATA_DIR={tmp_path / 'file'}" in line
    assert "exists" in line


def test_a_directory_that_takes_no_files_is_named(rings: Rings) -> None:
    """A directory in which nobody can write, not even root, is named."""
    assert "DATA_DIR=/proc/sys" in refused(rings(DATA_DIR="/proc/sys"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("GATEWAY_PORT", "abc"),
        ("AUTH_PORT", "0"),
        ("CHAT_PORT", "65536"),
        ("NATS_PORT", "-1"),
        ("GATEWAY_WORKERS", "0"),
        ("GATEWAY_WORKERS", "two"),
        ("LOG_LEVEL", "loud"),
        ("AUTH_ACCESS_SECONDS", "1000000"),
        ("CHAT_IN_FLIGHT", "none"),
        ("START_SECONDS", "0"),
    ],
)
def test_a_bad_setting_is_named(rings: Rings, setting: str, value: str) -> None:
    """A setting that any part would refuse is named with its value before anything starts."""
    line = refused(rings(**{setting: value}))
    assert line.startswith(f"parley: bad setting {setting}='{value}'")


def test_a_second_ring_on_the_same_directory_is_refused(rings: Rings) -> None:
    """Two rings never share a data directory; the line names the process that has it, which goes on undisturbed."""
    first = rings().start()
    second = rings(first.directory)
    assert second.launch().wait_for_exit(20) == 2
    assert first.launcher is not None
    assert f"is in use by another Parley (process {first.launcher.pid})" in second.output
    assert len(second.output.splitlines()) == 1
    assert not any(first.missing(part) for part in PARTS[1:])


def test_help_starts_nothing() -> None:
    """`--help` explains and ends with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0
    assert "Run Parley" in done.stdout


def test_ready_is_one_line_and_true(ring: Ring) -> None:
    """The ready line comes once, with the page's address, when every part answers that it is ready."""
    assert [line for line in ring.output.splitlines() if "is ready" in line] == [
        f"Parley is ready: {ring.page_url}  (Ctrl-C stops it)"
    ]
    # Ready when it was said; a busy machine may keep a part from NATS for a moment since.
    wait_until(lambda: not any(ring.missing(part) for part in PARTS[1:]), "every part answers that it is ready")
    assert len(ring.worker_pids()) == 2
    with urllib.request.urlopen(f"{ring.gateway_url}/config.json", timeout=5) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stops_without_a_trace(rings: Rings, number: int) -> None:
    """Ctrl-C, SIGTERM and a closed terminal stop everything in good order: exit code 0, no process, free ports."""
    ring = rings().start()
    assert len(ring.processes()) >= 7  # launcher, guard, nats, auth, chat, gateway and its workers
    ring.signal(number)
    assert ring.wait_for_exit() == 0
    assert ring.processes() == []
    for port in ring.ports.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_stops_while_starting(rings: Rings) -> None:
    """Ctrl-C in the middle of the start leaves no process either."""
    ring = rings().launch()
    wait_until(lambda: "starting" in ring.output, "the start has begun")
    ring.stop()


def test_a_second_ctrl_c_kills_at_once(rings: Rings) -> None:
    """Who cannot wait presses Ctrl-C again, and a part that does not react is killed."""
    ring = rings(STOP_SECONDS="60").start()
    os.kill(ring.pid_of("gateway"), signal.SIGSTOP)
    ring.signal(signal.SIGINT)
    wait_until(lambda: "stopping" in ring.output, "it stops")
    began = time.monotonic()
    ring.signal(signal.SIGINT)
    ring.wait_for_exit(20)
    assert time.monotonic() - began < 10
    assert ring.processes() == []


def test_a_part_that_hangs_is_killed_after_its_time(rings: Rings) -> None:
    """One part that does not react to SIGTERM cannot keep the others running."""
    ring = rings(STOP_SECONDS="1").start()
    os.kill(ring.pid_of("chat"), signal.SIGSTOP)
    ring.stop()
    assert "chat did not stop within 1 s" in ring.output


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_starts_again(ring: Ring, part: str) -> None:
    """kill -9 of any part: it is started again, all become ready, and a line says what happened and where to look."""
    before = ring.kill(part)
    wait_until(lambda: f"{part} ended (killed by SIGKILL)" in ring.output, "the launcher noticed")
    wait_until(lambda: _pid(ring, part) not in (None, before), "it runs again")
    ring.wait_until_ready()
    assert f"logs/{part}.log" in ring.output


def _pid(ring: Ring, part: str) -> int | None:
    try:
        return ring.pid_of(part)
    except AssertionError:
        return None


def test_a_killed_worker_is_replaced(ring: Ring) -> None:
    """kill -9 of one gateway worker: gunicorn replaces it, the launcher has nothing to do."""
    main, (first, second) = ring.pid_of("gateway"), ring.worker_pids()
    processes.kill(first)
    wait_until(lambda: len(set(ring.worker_pids()) - {first}) == 2, "two workers again")
    assert second in ring.worker_pids()
    assert ring.pid_of("gateway") == main
    ring.wait_until_ready()


def test_a_killed_launcher_leaves_nothing(rings: Rings) -> None:
    """kill -9 of the launcher itself: the guard stops what is left, and the next start finds everything free."""
    ring = rings().start()
    ring.signal(signal.SIGKILL)
    ring.wait_for_exit()
    wait_until(lambda: not ring.processes(), "nothing is left", 20)
    ring.start()


def test_a_killed_guard_is_replaced(rings: Rings) -> None:
    """Without its guard the launcher makes another one, which knows of every part that runs."""
    ring = rings().start()
    guard = next(process.pid for process in ring.processes() if "launcher.guard" in process.command)
    processes.kill(guard)
    ring.kill("chat")
    wait_until(lambda: any("launcher.guard" in process.command for process in ring.processes()), "a guard again")
    ring.wait_until_ready()
    ring.signal(signal.SIGKILL)
    ring.wait_for_exit()
    wait_until(lambda: not ring.processes(), "nothing is left", 20)


def test_a_part_that_cannot_start_ends_everything(rings: Rings) -> None:
    """A part that ends again and again before it was ready ends the start: exit code 1, and a line names its log."""
    ring = rings()
    ring.directory.mkdir(parents=True)
    (ring.directory / "nats").write_text("a file where nats-server wants a directory")
    assert ring.launch().wait_for_exit(30) == 1
    assert [line for line in ring.output.splitlines() if "nats ended 3 times before it was ready" in line]
    assert f"{ring.directory}/logs/nats.log" in ring.output
    assert "is ready" not in ring.output
    assert ring.processes() == []


def test_what_is_not_ready_in_time_is_named(rings: Rings) -> None:
    """When the time to start is over, the line says which part is not ready and why; everything is stopped."""
    ring = rings(START_SECONDS="0.3")
    assert ring.launch().wait_for_exit(30) == 1
    assert [line for line in ring.output.splitlines() if "not ready within 0.3 s" in line and "does not answer" in line]
    assert ring.processes() == []


def test_secrets_are_made_once_and_kept_private(rings: Rings) -> None:
    """The NATS passwords are made once, readable by their owner only, and each service is given its own alone."""
    ring = rings().start()
    file = ring.directory / "secrets" / "nats.env"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    first = file.read_text()
    passwords = dict(line.split("=", 1) for line in first.splitlines())
    assert len(set(passwords.values())) == 4  # of the three services, and of the operator
    for part in PARTS[1:]:
        given = Path(f"/proc/{ring.pid_of(part)}/environ").read_text()
        assert f"NATS_PASSWORD={passwords[f'NATS_{part.upper()}_PASSWORD']}" in given
        assert sum(password in given for password in passwords.values()) == 1
    for log in ring.directory.glob("logs/*"):
        assert not any(password in log.read_text() for password in passwords.values())
    ring.stop()
    ring.start()
    assert file.read_text() == first


def test_a_second_start_finds_all_again(rings: Rings) -> None:
    """A second start takes seconds, and an account made before it is still there."""
    ring = rings().start()
    account = {"username": "ann", "password": "correct horse battery"}
    assert _post(f"{ring.auth_url}/register", account)["user"]["name"] == "ann"
    ring.stop()
    began = time.monotonic()
    ring.start()
    assert time.monotonic() - began < 30
    assert _post(f"{ring.auth_url}/login", account)["user"]["name"] == "ann"


def _post(url: str, body: dict[str, str]) -> dict[str, dict[str, str]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, dict[str, str]] = json.load(answer)
        return found


def test_a_foreign_nats_setting_is_not_used(rings: Rings) -> None:
    """NATS_URL of another project in the environment does not lead this ring elsewhere, and is said to be unused."""
    ring = rings(NATS_URL="nats://127.0.0.1:1").start()
    assert "NATS_URL is not used here" in ring.output


def test_verbose_shows_every_log(rings: Rings) -> None:
    """`--verbose` prints each part's lines with the part's name in front."""
    ring = rings().launch("--verbose")
    wait_until(lambda: "is ready" in ring.output, "the ring is ready", 60)
    wait_until(lambda: "Server is ready" in ring.output, "nats-server's own line is shown")
    assert any(line.startswith("nats    | ") for line in ring.output.splitlines())
