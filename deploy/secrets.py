"""`python -m deploy.secrets`: make every secret of compose and of k8s that is not there yet. Nothing has a default.

| for | files | mode |
|---|---|---|
| compose | `secrets/<name>`, one value each | directory 0700, files 0444 |
| k8s | `k8s/secrets/<part>.env`, `k8s/secrets/nats-tls/` | directories 0700, files 0600 |

What exists is kept, so it can be run at any time; to change a value, write it into its file, or remove the file.
Files of compose are mounted as they are into containers that run as other users, each of which must be able to read
its own; on this machine nobody passes the directory but its owner.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy import certificates

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = "secrets"
K8S = "k8s/secrets"
DOT_ENV = ".env"
POINTER = "PARLEY_SECRETS"
"""What docker-compose.yml asks for; without it, it says that `make secrets` has to be run."""

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
MOUNTED_MODE = 0o444

Values = dict[str, dict[str, str]]
"""File to its names to their values; the files of compose are together one such file."""
Source = Callable[[Values], str]


def _random(_: Values) -> str:
    # A letter first, since nats-server reads a bare 1e5 as a number; nothing that a URL would have to escape.
    return "p" + secrets.token_hex(24)


def _same_as(file: str, name: str) -> Source:
    return lambda values: values[file][name]


def _database(user: str, file: str, name: str) -> Source:
    return lambda values: f"postgresql://{user}:{values[file][name]}@postgres:5432/{user}"


def _fixed(text: str) -> Source:
    return lambda _: text


SOURCES: dict[str, dict[str, Source]] = {
    COMPOSE: {
        "nats_gateway": _random,
        "nats_auth": _random,
        "nats_chat": _random,
        "nats_operator": _random,
        "nats_cluster": _random,
        "postgres_admin": _random,
        "postgres_auth": _random,
        "postgres_chat": _random,
        "grafana_admin": _random,
        "api_key": _random,
        "canary": _random,
        "auth_database_url": _database("auth", COMPOSE, "postgres_auth"),
        "chat_database_url": _database("chat", COMPOSE, "postgres_chat"),
    },
    f"{K8S}/nats.env": {
        "NATS_GATEWAY_PASSWORD": _random,
        "NATS_AUTH_PASSWORD": _random,
        "NATS_CHAT_PASSWORD": _random,
        "NATS_OPERATOR_PASSWORD": _random,
        "NATS_CLUSTER_PASSWORD": _random,
    },
    f"{K8S}/postgres.env": {
        "POSTGRES_PASSWORD": _random,
        "POSTGRES_AUTH_PASSWORD": _random,
        "POSTGRES_CHAT_PASSWORD": _random,
    },
    f"{K8S}/auth.env": {
        "NATS_PASSWORD": _same_as(f"{K8S}/nats.env", "NATS_AUTH_PASSWORD"),
        "AUTH_DATABASE_URL": _database("auth", f"{K8S}/postgres.env", "POSTGRES_AUTH_PASSWORD"),
    },
    f"{K8S}/chat.env": {
        "NATS_PASSWORD": _same_as(f"{K8S}/nats.env", "NATS_CHAT_PASSWORD"),
        "DATABASE_URL": _database("chat", f"{K8S}/postgres.env", "POSTGRES_CHAT_PASSWORD"),
    },
    f"{K8S}/gateway.env": {
        "NATS_PASSWORD": _same_as(f"{K8S}/nats.env", "NATS_GATEWAY_PASSWORD"),
        "API_KEY": _random,
    },
    f"{K8S}/canary.env": {"CANARY_USERNAME": _fixed("canary"), "CANARY_PASSWORD": _random},
    f"{K8S}/grafana.env": {"GF_SECURITY_ADMIN_PASSWORD": _random},
}
"""Every secret and where its value comes from. A source may look at what stands above it."""


def completed(existing: Mapping[str, Mapping[str, str]]) -> Values:
    """Return `existing` with every secret that it lacks; an empty value counts as lacking."""
    values: Values = {}
    for file, sources in SOURCES.items():
        values[file] = dict(existing.get(file, {}))
        for name, source in sources.items():
            if not values[file].get(name):
                values[file][name] = source(values)
    return values


def read(root: Path) -> Values:
    """Return the secrets that exist below `root`."""
    found: Values = {COMPOSE: {}}
    for name in SOURCES[COMPOSE]:
        file = root / COMPOSE / name
        if file.exists():
            found[COMPOSE][name] = file.read_text().strip()
    for path in SOURCES:
        file = root / path
        if path != COMPOSE and file.exists():
            lines = (line.strip() for line in file.read_text().splitlines())
            found[path] = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return found


def write(root: Path, existing: Values, values: Values) -> list[str]:
    """Write what `existing` lacks below `root`, and set all modes; return the names of the values that are new."""
    for directory in (root / COMPOSE, root / K8S):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(DIRECTORY_MODE)
    made = []
    for path, names in values.items():
        new = [name for name in names if existing.get(path, {}).get(name) != names[name]]
        made += [f"{path}: {name}" for name in new]
        if path == COMPOSE:
            for name in new:
                replace(root / COMPOSE / name, names[name].encode(), MOUNTED_MODE)
            for name in SOURCES[COMPOSE]:
                (root / COMPOSE / name).chmod(MOUNTED_MODE)
        else:
            if new:
                replace(root / path, "".join(f"{name}={value}\n" for name, value in names.items()).encode(), FILE_MODE)
            (root / path).chmod(FILE_MODE)
    return made


def replace(file: Path, content: bytes, mode: int) -> None:
    """Write all or nothing: half a secret would lock the services out."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)


def point_compose(root: Path) -> None:
    """Have compose find the secrets: a line in `.env`, which it reads by itself. Other lines there are kept."""
    file = root / DOT_ENV
    lines = file.read_text().splitlines() if file.exists() else []
    if not any(line.startswith(f"{POINTER}=") for line in lines):
        file.write_text("\n".join([*lines, f"{POINTER}=./{COMPOSE}", ""]))


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing, and say what that was, without its values; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.secrets",
        description="Make every secret that is not there yet, for compose and for k8s. What exists is kept.",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="directory to write below (default: the repository)")
    root: Path = parser.parse_args(arguments).root
    existing = read(root)
    values = completed(existing)
    made = write(root, existing, values)
    kept = sum(len(names) for names in values.values()) - len(made)
    point_compose(root)
    print(f"secrets: {len(made)} made, {kept} kept, in {COMPOSE}/ (docker compose) and {K8S}/ (kubectl apply -k)")
    for line in certificates.ensure(root / K8S / "nats-tls"):
        print(f"secrets: {line}")
    print(f"secrets: Grafana's user admin has the password in {COMPOSE}/grafana_admin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
