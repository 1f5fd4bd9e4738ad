"""What has to hold before anything starts. Each check answers with one line for the operator when it does not."""

import errno
import fcntl
import os
import socket
import tempfile
from pathlib import Path

from launcher.parts import Part

LOCALHOST = "127.0.0.1"


class Refused(Exception):
    """The ring cannot start as asked; the text is one line that names the reason."""


def prepare_directory(directory: Path) -> Path:
    """Make the data directory if need be and try to write in it; return its absolute path. Raises `Refused`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"x")
    except OSError as error:
        raise Refused(f"DATA_DIR={directory} cannot be written: {error.strerror}") from None
    return directory.resolve()


def lock_directory(directory: Path) -> int:
    """Take the data directory for this process; return the file descriptor that holds it. Raises `Refused`.

    The kernel gives the lock back when the last process that has the descriptor ends, however it ends.
    """
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Refused(
            f"DATA_DIR={directory} is in use by another Parley (process {owner}); stop that one or set DATA_DIR"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def check_ports(parts: list[Part]) -> None:
    """Raise `Refused` when two parts want the same port, or one wants a port that is not to be had."""
    wanted: dict[int, str] = {}
    for part in parts:
        for setting, port in part.ports.items():
            if port in wanted:
                raise Refused(f"{wanted[port]} and {setting} are both {port}; each needs its own")
            wanted[port] = setting
    problems = [problem for part in parts if (problem := port_problem(part))]
    if problems:
        raise Refused("\nparley: ".join(problems))


def port_problem(part: Part) -> str | None:
    """Return why `part` could not listen on one of its ports, or None. Listens there for a moment."""
    problems = (_problem(part.host, port, setting) for setting, port in part.ports.items())
    return next(filter(None, problems), None)


def _problem(host: str, port: int, setting: str) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: an old connection is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return _why(host, port, setting, error)
    if host == LOCALHOST and _answers("::1", port):
        return _taken("::1 (where `localhost` leads first)", port, setting)
    return None


def _why(host: str, port: int, setting: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _taken(host, port, setting)
    if error.errno == errno.EACCES:
        return f"port {port} ({setting}) may not be used by this user; set {setting} above 1023"
    return f"BIND_HOST={host} is no address of this machine: {error.strerror}"


def _taken(where: str, port: int, setting: str) -> str:
    return f"port {port} ({setting}) is taken on {where}; stop what listens there or set {setting}"


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return False
