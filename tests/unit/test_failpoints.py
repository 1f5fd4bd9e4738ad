"""Places where tests kill or stop a process: off unless asked for, refused when misspelt, loud when on."""

import ast
import signal
import subprocess
import sys

import pytest

from chassis import failpoints
from chassis.settings import BadSetting, Settings
from tests.architecture.source import PACKAGES, ROOT, modules

SHIPPED = ("k8s", "compose", "nats", "deploy", "observability", "launcher")
"""Directories, besides the files at the top, from which something is deployed."""


def reached() -> list[str]:
    """Return the places that the code comes to, as often as it names them."""
    return [
        str(ast.literal_eval(node.args[0]))
        for module in modules(*PACKAGES)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach"
    ]


def test_each_place_is_in_the_code_once() -> None:
    """No place is listed that nobody comes to, and none is come to that is not listed."""
    assert sorted(reached()) == sorted(failpoints.PLACES)


def test_it_is_off_unless_asked_for() -> None:
    """By default nothing is set, and then no place does anything."""
    failpoints.arm(Settings.model_fields["failpoint"].default)
    for place in failpoints.PLACES:
        failpoints.reach(place)


def test_nothing_that_is_shipped_sets_it() -> None:
    """No manifest, image, compose file or start script knows the setting's name."""
    files = [file for place in SHIPPED for file in (ROOT / place).rglob("*") if file.suffix != ".pyc"]
    files += [ROOT / name for name in ("Dockerfile", "docker-compose.yml", "Procfile", "Makefile")]
    found = [str(file) for file in files if file.is_file() and b"FAILPOINT" in file.read_bytes()]
    assert found == []


@pytest.mark.parametrize(
    "text", ["1", "true", "chat.stored", "chat.stored:kill:0", "chat.stored:end", "nowhere:kill", "chatXstored:kill"]
)
def test_what_is_no_failpoint_ends_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What somebody puts there by mistake switches nothing on: the service does not start, and names the setting."""
    monkeypatch.setenv("FAILPOINT", text)
    with pytest.raises(BadSetting, match="FAILPOINT"):
        Settings.load()


@pytest.mark.parametrize("place", failpoints.PLACES)
def test_every_place_can_be_set(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Place and action, and n for every n-th time, are a setting."""
    for text in (f"{place}:kill", f"{place}:stop:25"):
        monkeypatch.setenv("FAILPOINT", text)
        assert Settings.load().failpoint == text


def test_the_process_is_killed_at_the_nth_arrival() -> None:
    """Other places do not count, the two arrivals before do nothing, and a warning has said that it is on."""
    program = (
        "from chassis import failpoints\n"
        "failpoints.arm('chat.stored:kill:3')\n"
        "for number in range(9):\n"
        "    failpoints.reach('chat.answered')\n"
        "    print('at', number, flush=True)\n"
        "    failpoints.reach('chat.stored')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == -signal.SIGKILL, done
    assert [line for line in done.stdout.splitlines() if line.startswith("at")] == ["at 0", "at 1", "at 2"]
    assert "a failpoint is set" in done.stdout + done.stderr
