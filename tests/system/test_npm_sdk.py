"""The npm SDK, in Node, in both encodings: what tests/system/npm/scenarios.mjs does with a running system works."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.clients import guest
from tests.bench.ring import ROOT, Ring

HERE = Path(__file__).parent / "npm"
SCENARIOS = (
    "publish",
    "rpc",
    "presence",
    "history",
    "recovery",
    "delta",
    "state",
    "unrecovered",
    "user",
    "hurry",
    "bytes",
)
SECONDS = 100


def node() -> str:
    """Return the path of Node: beside this Python (requirements/node.txt), else from PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which("node", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found, "node is missing; `make test` installs it"
    assert (HERE / "node_modules").is_dir(), "`make test` installs what the scenarios need"
    return found


@pytest.fixture(scope="module")
def open_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A running system with the general channels of the conformance suite."""
    channels = ROOT / "tests" / "conformance" / "channels.toml"
    ring = Ring(tmp_path_factory.mktemp("npm") / "data", {"CHANNELS_FILE": str(channels)})
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.mark.parametrize("protocol", ["json", "protobuf"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_npm_sdk(open_ring: Ring, scenario: str, protocol: str) -> None:
    """An application on the npm SDK gets what the protocol promises; see the scenario."""
    accounts = [await guest(open_ring, name) for name in ("Ann", "Ben")]
    given = {
        "url": open_ring.websocket_url,
        "tokens": [one.access for one in accounts],
        "users": [one.id for one in accounts],
    }
    ended = subprocess.run(
        [node(), str(HERE / "scenarios.mjs"), scenario, protocol, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (ended.returncode, ended.stdout) == (0, "ok\n"), ended.stdout + ended.stderr


def test_every_scenario_is_run() -> None:
    """The list above names each scenario of the script."""
    text = (HERE / "scenarios.mjs").read_text()
    named = [line.split("(")[0].split()[-1] for line in text.splitlines() if line.startswith("  async ")]
    assert sorted(named) == sorted(SCENARIOS)
