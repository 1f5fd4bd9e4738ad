"""The suite: Autobahn's fuzzing client, hash-pinned, under the Python 2.7 it needs. Installed beside the libraries."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PIN = ROOT / "requirements" / "autobahn.txt"
PLACE = Path(sys.prefix) / "autobahn"
"""`make clean` removes it with the rest."""

_RUN = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""


class Missing(Exception):
    """The suite cannot be run here; the text says what it needs."""


def interpreter() -> str:
    """Return a Python 2.7: the one that PYTHON2 names, or that PATH has, or that pyenv keeps. Raise `Missing`."""
    found = shutil.which("python2.7")
    kept = sorted(Path(found).parents[1].glob("versions/2.7*/bin/python2.7")) if found else []
    for one in [os.environ.get("PYTHON2"), found, *map(str, kept)]:
        if one and subprocess.run([one, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
            return one
    raise Missing("Autobahn's test suite needs Python 2.7 with pip; name it in PYTHON2 or put python2.7 on PATH")


def install(python: str) -> None:
    """Install what is pinned, unless the very same is installed. The copy of the lock is made last."""
    mark = PLACE / "installed.txt"
    if mark.exists() and mark.read_text() == PIN.read_text():
        return
    print(f"parley: installing requirements/{PIN.name}", flush=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--no-deps"]
    subprocess.run(
        [python, "-W", "ignore", "-m", "pip", "install", *options, "--target", str(PLACE), "-r", str(PIN)],
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    shutil.copy(PIN, mark)


def run(python: str, url: str, directory: Path, cases: list[str], excluded: list[str], seconds: float) -> Any:
    """Put `cases` to the server at `url`; return the suite's index of results, case to what it found."""
    specification = {
        "outdir": str(directory / "reports"),
        "servers": [{"agent": "parley", "url": url}],
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    file = directory / "specification.json"
    file.write_text(json.dumps(specification))
    log = directory / "suite.log"
    with log.open("wb") as output:
        command = [python, "-W", "ignore", "-c", _RUN, str(PLACE), "-m", "fuzzingclient", "-s", str(file)]
        ended = subprocess.run(command, stdout=output, stderr=output, timeout=seconds, check=False)
    index = directory / "reports" / "index.json"
    if ended.returncode or not index.exists():
        raise Missing(f"the suite ended with {ended.returncode}:\n{log.read_text()[-2000:]}")
    return json.loads(index.read_text())["parley"]
