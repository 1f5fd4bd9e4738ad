"""The launcher's rules that need no running ring: Procfile, environments, passwords, logs, words for the operator."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.settings import BadSetting
from launcher import guard, logfiles, parts, passwords, preflight, process
from launcher.parts import Part
from launcher.settings import LauncherSettings
from tests.bench.ports import free_port, wait_until

PASSWORDS = {"gateway": "pg", "auth": "pa", "chat": "pc"}


def a_part(name: str = "chat", host: str = "127.0.0.1", port: int = 8002, *command: str) -> Part:
    """A part as a line of the Procfile would make it."""
    return Part(name, command or ("python", "-m", "chat_service"), host, port)


def test_procfile_that_ships_lists_four_parts() -> None:
    """Procfile, settings and default ports fit together; NATS listens on this machine only, whatever BIND_HOST says."""
    settings = LauncherSettings(bind_host="0.0.0.0")
    listed = parts.read_procfile(parts.PROCFILE.read_text(), settings)
    assert [(part.name, part.host) for part in listed] == [
        ("nats", "127.0.0.1"),
        ("auth", "0.0.0.0"),
        ("chat", "0.0.0.0"),
        ("gateway", "0.0.0.0"),
    ]
    assert [part.port for part in listed] == [4222, 8001, 8002, 8000]
    assert [part.port_setting for part in listed] == ["NATS_PORT", "AUTH_PORT", "CHAT_PORT", "GATEWAY_PORT"]


@pytest.mark.parametrize("line", ["chat python -m chat_service", "chat:", "mystery: sleep 1"])
def test_a_procfile_line_that_cannot_be_used_is_named(line: str) -> None:
    """A line without a colon, without a command, or with a name that has no port is refused with the line."""
    with pytest.raises(parts.BadProcfile, match=line):
        parts.read_procfile(line, LauncherSettings())


def test_procfile_takes_comments_and_quotes() -> None:
    """Comments and empty lines are left out; quotes keep a word together."""
    (part,) = parts.read_procfile('# all\n\nchat: python -m chat_service "a b" # last\n', LauncherSettings())
    assert part.command == ("python", "-m", "chat_service", "a b")


def test_each_part_gets_its_own_password_only() -> None:
    """A service is given one password; settings of another NATS and other services' passwords are not passed on."""
    base = {"PATH": "/bin", "NATS_URL": "nats://x", "NATS_USER": "x", "NATS_AUTH_PASSWORD": "old", "DATA_DIR": "rel"}
    given = parts.environment(a_part(), base, Path("/d"), PASSWORDS)
    assert given == {"PATH": "/bin", "DATA_DIR": "/d", "NATS_PASSWORD": "pc"}


def test_texts_for_nats_server_carry_their_quotes() -> None:
    """nats-server parses variables as configuration, so texts come quoted and numbers plain."""
    given = parts.environment(a_part("nats", port=4222), {}, Path('/a "b"\\c'), PASSWORDS | {"chat": "12345"})
    assert given["NATS_PORT"] == "4222"
    assert given["NATS_HOST"] == '"127.0.0.1"'
    assert given["NATS_CHAT_PASSWORD"] == '"12345"'
    assert given["NATS_STORE_DIR"] == '"/a \\"b\\"\\\\c/nats"'
    assert "NATS_PASSWORD" not in given


def test_python_is_the_one_that_runs_the_launcher() -> None:
    """The parts run in the launcher's own Python, with what is installed there; unknown programs are missing."""
    assert parts.program(a_part(), "") == sys.executable
    assert parts.program(a_part("nats", "", 1, "no-such-program"), "/usr/bin") is None


def test_settings_of_a_part_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that only one service knows is checked before anything starts."""
    monkeypatch.setenv("GATEWAY_WORKERS", "0")
    parts.check_settings(a_part("auth", "127.0.0.1", 1, "python", "-m", "auth_service"))
    with pytest.raises(BadSetting, match="GATEWAY_WORKERS='0'"):
        parts.check_settings(a_part("gateway", "127.0.0.1", 1, "python", "-m", "gateway"))


def test_passwords_are_made_once(tmp_path: Path) -> None:
    """Each user has its own long password; a second call gives the same, and only the owner can read the file."""
    first = passwords.load_or_make(tmp_path / "secrets")
    assert set(first) == {"gateway", "auth", "chat", "operator"}
    assert len(set(first.values())) == 4
    assert all(len(password) >= 40 for password in first.values())
    assert passwords.load_or_make(tmp_path / "secrets") == first
    assert (tmp_path / "secrets" / "nats.env").stat().st_mode & 0o777 == 0o600


def test_a_missing_password_is_added(tmp_path: Path) -> None:
    """A file from before a service existed keeps what it has and gets what it lacks."""
    (tmp_path / "nats.env").write_text("NATS_CHAT_PASSWORD=kept\nnonsense\nNATS_AUTH_PASSWORD=\n")
    found = passwords.load_or_make(tmp_path)
    assert found["chat"] == "kept"
    assert found["auth"]
    assert passwords.load_or_make(tmp_path) == found


def test_a_large_log_is_turned(tmp_path: Path) -> None:
    """A log over its limit moves to .1, and whoever has it open goes on writing into the emptied file."""
    file = tmp_path / "logs" / "chat.log"
    with logfiles.open_log(file) as log:
        log.write(b"x" * 100)
        log.flush()
        logfiles.turn(file, 100)
        assert file.stat().st_size == 100
        logfiles.turn(file, 99)
        assert (tmp_path / "logs" / "chat.log.1").stat().st_size == 100
        log.write(b"new")
    assert file.read_bytes() == b"new"


def test_a_follower_gives_each_completed_line_once(tmp_path: Path) -> None:
    """Only what came after it began, only whole lines, and it survives a missing and a turned log."""
    file = tmp_path / "chat.log"
    late = logfiles.Follower(file)
    assert late.new_lines() == []
    file.write_text("old\n")
    follower = logfiles.Follower(file)
    with file.open("a") as log:
        log.write("one\ntw")
        log.flush()
        assert follower.new_lines() == ["one"]
        log.write("o\n")
    assert follower.new_lines() == ["two"]
    assert follower.new_lines() == []
    file.write_text("n\n")
    assert follower.new_lines() == ["n"]


def test_a_free_port_is_no_problem_and_a_taken_one_is_named() -> None:
    """The check listens where the part will listen."""
    port = free_port()
    part = a_part("gateway", "127.0.0.1", port)
    assert preflight.port_problem(part) is None
    with socket.create_server(("127.0.0.1", port)):
        assert preflight.port_problem(part) == (
            f"port {port} (GATEWAY_PORT) is taken on 127.0.0.1; stop what listens there or set GATEWAY_PORT"
        )


def test_a_foreign_address_is_named() -> None:
    """BIND_HOST has to be an address of this machine."""
    assert "BIND_HOST=192.0.2.1" in (preflight.port_problem(a_part("chat", "192.0.2.1", free_port())) or "")


def test_the_lock_is_held_by_whoever_has_its_descriptor(tmp_path: Path) -> None:
    """A second taker is refused while any process holds the descriptor, and gets it after the last one has ended."""
    lock = preflight.lock_directory(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    try:
        os.close(lock)
        with pytest.raises(preflight.Refused, match="in use by another Parley"):
            preflight.lock_directory(tmp_path)
    finally:
        holder.communicate(b"\n", timeout=10)
    os.close(preflight.lock_directory(tmp_path))


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (3, "exit code 3"), (-9, "killed by SIGKILL"), (-15, "killed by SIGTERM"), (-99, "signal 99")],
)
def test_endings_are_told_in_words(code: int, words: str) -> None:
    """An operator reads how a part ended without a table of numbers."""
    assert words in process.ending(code)


def test_the_guard_kills_what_ignores_sigterm() -> None:
    """A group that does not end at SIGTERM is killed when the time is over."""
    stubborn = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()
    guard.end({child.pid}, 0.2)
    assert child.wait(10) == -signal.SIGKILL
    child.stdout.close()
    wait_until(lambda: not guard.send(child.pid, 0), "the group is gone")


def test_internal_ports_are_checked_as_all_others() -> None:
    """A part with a port for health and metrics needs both free, and no other part on either."""
    settings = LauncherSettings(gateway_port=free_port(), gateway_internal_port=free_port())
    (part,) = parts.read_procfile("gateway: python -m gateway", settings)
    assert part.ports == {
        "GATEWAY_PORT": settings.gateway_port,
        "GATEWAY_INTERNAL_PORT": settings.gateway_internal_port,
    }
    with socket.create_server(("127.0.0.1", settings.gateway_internal_port)):
        assert "GATEWAY_INTERNAL_PORT" in (preflight.port_problem(part) or "")
    with pytest.raises(preflight.Refused, match="GATEWAY_INTERNAL_PORT and CHAT_PORT are both"):
        preflight.check_ports([part, a_part("chat", "127.0.0.1", settings.gateway_internal_port)])


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "0"), ({"GATEWAY_DRAIN_SECONDS": ""}, "0"), ({"GATEWAY_DRAIN_SECONDS": "7"}, "7")]
)
def test_the_gateway_leaves_at_once_unless_somebody_says_otherwise(given: dict[str, str], expected: str) -> None:
    """Ctrl-C is quick on one machine; whoever sets a window gets it. No other part is told of it."""
    gateway = parts.environment(a_part("gateway"), given, Path("/d"), PASSWORDS)
    assert gateway["GATEWAY_DRAIN_SECONDS"] == expected
    assert "GATEWAY_DRAIN_SECONDS" not in parts.environment(a_part("chat"), {}, Path("/d"), PASSWORDS)


def test_a_gateway_is_given_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay, window and ten seconds are what it takes; who sets them is not killed sooner, nor anybody later."""
    monkeypatch.setenv("GATEWAY_DRAIN_DELAY_SECONDS", "2.5")
    monkeypatch.setenv("GATEWAY_DRAIN_SECONDS", "60")
    grace = parts.check_settings(a_part("gateway", "127.0.0.1", 8000, "python", "-m", "gateway"))
    assert grace == 73
    asked = {"GATEWAY_DRAIN_SECONDS": "60"}
    settings = LauncherSettings(stop_seconds=1)
    assert parts.patience(grace, asked, settings) > grace
    assert parts.patience(grace, asked, LauncherSettings(stop_seconds=100)) == 100
    assert parts.patience(grace, {}, settings) == 1
    assert parts.patience(parts.check_settings(a_part()), asked, settings) == 1
