"""What is written as log lines, and what becomes of what cannot be."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.ring import ROOT

PROGRAM = """
import logging, sys
from chassis import logs

logs.configure("gateway", "INFO", "json")
log = logs.get("one")
log.debug("too small a thing")
log.info("signed %s", "in", user="u", access_token="eyJ")
try:
    raise ValueError("why")
except ValueError:
    log.exception("failed")
logging.getLogger("library").warning("said %s", "so")
print("done")
"""


def run(error: int | Any) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, since logging is set up once for a process."""
    words = [sys.executable, "-c", PROGRAM]
    return subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=error, text=True, timeout=60, check=True)


def test_each_line_is_an_object_without_secrets() -> None:
    """Ours and those of libraries look the same; what is below the level is not there."""
    signed, failed, said = map(json.loads, run(subprocess.PIPE).stderr.splitlines())
    assert signed.pop("timestamp") < failed["timestamp"] < said.pop("timestamp")
    assert signed == {
        "event": "signed in", "level": "info", "service": "gateway", "user": "u", "access_token": "[redacted]"
    }  # fmt: skip
    assert (failed["event"], failed["level"]) == ("failed", "error")
    assert "ValueError: why" in failed["exception"]
    assert said == {"event": "said so", "level": "warning", "service": "gateway"}


def test_a_line_that_cannot_be_written_is_lost_alone() -> None:
    """On a full disk the work goes on."""
    with Path("/dev/full").open("w") as full:
        assert run(full).stdout == "done\n"
