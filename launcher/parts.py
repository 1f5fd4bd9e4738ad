"""The parts of the ring: what the Procfile says, and what each part is given in its environment."""

import importlib
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from chassis.settings import Settings
from launcher.passwords import VARIABLES
from launcher.settings import LauncherSettings

ROOT = Path(__file__).resolve().parents[1]
PROCFILE = ROOT / "Procfile"
NATS = "nats"
NATS_HOST = "127.0.0.1"
"""Only processes of this machine talk to this NATS."""

GATEWAY = "gateway"
DELAY, DRAIN = "GATEWAY_DRAIN_DELAY_SECONDS", "GATEWAY_DRAIN_SECONDS"
MARGIN_SECONDS = 2.0
"""What a part gets on top of the time in which it promises to end."""

_NOT_PASSED_ON = (
    *("NATS_URL", "NATS_URL_FILE", "NATS_USER", "NATS_PASSWORD", "NATS_PASSWORD_FILE"),
    *VARIABLES.values(),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the Procfile. `host` and `port` are where it will listen; health may have a port of its own, or 0."""

    name: str
    command: tuple[str, ...]
    host: str
    port: int
    internal_port: int = 0

    @property
    def port_setting(self) -> str:
        """The name of the setting that moves its port."""
        return f"{self.name.upper()}_PORT"

    @property
    def ports(self) -> dict[str, int]:
        """Every port it will listen on, by the name of its setting."""
        internal = {f"{self.name.upper()}_INTERNAL_PORT": self.internal_port} if self.internal_port else {}
        return {self.port_setting: self.port} | internal


class BadProcfile(ValueError):
    """A line of the Procfile cannot be used; the text names it."""


def read_procfile(text: str, settings: Settings) -> list[Part]:
    """Return the parts that `text` lists as `name: command`, in its order; raise `BadProcfile`."""
    parts = []
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        name, colon, command = line.partition(":")
        port = getattr(settings, f"{name}_port", None)
        if not colon or not command.strip() or port is None:
            raise BadProcfile(f"Procfile: cannot use the line {line!r}")
        host = NATS_HOST if name == NATS else settings.bind_host
        internal_port = getattr(settings, f"{name}_internal_port", 0)
        parts.append(Part(name, tuple(shlex.split(command)), host, port, internal_port))
    return parts


def program(part: Part, path: str) -> str | None:
    """Return the program that `part` runs: this Python, or what is found beside it or in `path`; None when missing."""
    beside = Path(sys.executable).parent
    return sys.executable if part.command[0] == "python" else shutil.which(part.command[0], path=f"{beside}:{path}")


def check_settings(part: Part) -> float:
    """Return the seconds that `part` asks for to end, 0 if it does not say; raise `BadSetting` if it would refuse."""
    grace = 0.0
    if "-m" not in part.command:
        return grace
    package = part.command[part.command.index("-m") + 1]
    module = importlib.import_module(f"{package}.settings")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__:
            grace = max(grace, getattr(value.load(), "grace_seconds", 0.0))
    return grace


def patience(grace: float, base: dict[str, str], settings: LauncherSettings) -> float:
    """Return how long a part is given to end: its `grace`, where `base`, our environment, asks for a drain."""
    if grace and any(base.get(name) for name in (DELAY, DRAIN)):
        return max(settings.stop_seconds, grace + MARGIN_SECONDS)
    return settings.stop_seconds


def environment(part: Part, base: dict[str, str], data_dir: Path, passwords: dict[str, str]) -> dict[str, str]:
    """Return the environment of `part`: ours without foreign NATS settings, and no password but its own.

    nats-server reads each variable as a piece of its configuration, so texts for it carry their quotes.
    """
    own = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON}
    own["DATA_DIR"] = str(data_dir)
    if part.name == GATEWAY and not own.get(DRAIN):
        own[DRAIN] = "0"  # Ctrl-C is to be quick, and here is no other gateway to be kind to
    if part.name != NATS:
        return own | {"NATS_PASSWORD": passwords[part.name]}
    return own | {
        "NATS_HOST": _quoted(part.host),
        "NATS_PORT": str(part.port),
        "NATS_STORE_DIR": _quoted(str(data_dir / "nats")),
        **{VARIABLES[name]: _quoted(password) for name, password in passwords.items()},
    }


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
