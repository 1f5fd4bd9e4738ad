"""The services' NATS passwords: made once per data directory, readable by its owner only."""

import os
import secrets
from pathlib import Path

VARIABLES = {name: f"NATS_{name.upper()}_PASSWORD" for name in ("gateway", "auth", "chat", "operator")}
"""NATS user to the variable that nats/nats.conf takes its password from."""

_BYTES = 24


def load_or_make(directory: Path) -> dict[str, str]:
    """Return NATS user to password from `directory`/nats.env; make what is missing there."""
    directory.mkdir(mode=0o700, exist_ok=True)
    file = directory / "nats.env"
    lines = file.read_text().splitlines() if file.exists() else []
    stored = dict(line.split("=", 1) for line in lines if "=" in line)
    passwords = {name: stored.get(variable) or secrets.token_hex(_BYTES) for name, variable in VARIABLES.items()}
    wanted = {VARIABLES[name]: password for name, password in passwords.items()}
    if wanted != stored:
        _replace(file, "".join(f"{variable}={password}\n" for variable, password in wanted.items()))
    return passwords


def _replace(file: Path, text: str) -> None:
    """Write all or nothing: a half-written file would lock the services out at the next start."""
    draft = file.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)
