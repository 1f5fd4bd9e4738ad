"""The auth API against its own description: schemathesis asks a real service for what its OpenAPI promises."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.bench.ring import Ring

SCHEMATHESIS = Path(sys.prefix) / "fuzz" / "bin" / "schemathesis"
"""In an environment of its own, with a lock of its own: it must not choose the versions that we test."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES_PER_SECOND = 1.0
KILLED_AFTER = 300.0


def run(seconds: float) -> int:
    """Return 0 when no answer breaks the promise, 1 when one does; the more `seconds`, the more is asked."""
    with tempfile.TemporaryDirectory(prefix="parley-fuzz-") as directory:
        unlimited = {f"AUTH_ADDRESS_{kind}_BURST": "0" for kind in ("GUEST", "PASSWORD", "SESSION")}
        ring = Ring(Path(directory) / "data", unlimited | {"AUTH_ARGON2_MEMORY_KIB": "64", "AUTH_ARGON2_PASSES": "1"})
        try:
            ring.start()
            examples = max(10, int(seconds * EXAMPLES_PER_SECOND))
            # As nobody in particular, and as somebody, who must not log out meanwhile.
            failed = _ask(ring, directory, examples)
            as_somebody = ["--header", f"Authorization: Bearer {_access(ring)}", "--exclude-path", "/auth/logout"]
            failed |= _ask(ring, directory, examples, *as_somebody)
            if "Traceback" in (logs := ring.logs(10_000)):
                failed = 1
                print(logs, file=sys.stderr)
        finally:
            ring.end()
    return failed


def _ask(ring: Ring, directory: str, examples: int, *options: str) -> int:
    command = [str(SCHEMATHESIS), "run", f"{ring.auth_url}/openapi.json", "--checks", CHECKS, "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--warnings", "off", *options]
    ended = subprocess.run(command, cwd=directory, timeout=KILLED_AFTER, check=False, capture_output=True, text=True)
    said = ended.stdout + ended.stderr
    print(said if ended.returncode else f"  api: {said.strip().splitlines()[-1].strip('= ')}", flush=True)
    return 1 if ended.returncode else 0


def _access(ring: Ring) -> str:
    """Return the access token of a new guest."""
    body = json.dumps({"name": "Fuzz"}).encode()
    asked = urllib.request.Request(f"{ring.auth_url}/guest", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        token: str = json.load(answer)["access_token"]
    return token
