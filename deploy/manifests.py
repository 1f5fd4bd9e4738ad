"""`python -m deploy.manifests`: render the overlays of k8s/ as `kubectl apply -k` would, and check them.

kubectl makes the text, so what is checked is what a cluster would be given. It works on a copy, in which secrets that
do not exist yet are made: nothing has to be prepared, and what `make secrets` wrote is used.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from deploy import rules, schemas, secrets

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = ("local", "production")
SOURCES = ("k8s", "nats", "observability/grafana")
"""Directories that overlays are made of."""

RENDER_SECONDS = 60
KUSTOMIZE = 5
"""Least major version of the kustomize in kubectl: 1.27 has it."""

Object = dict[str, Any]


class NotRendered(Exception):
    """kubectl could not make the manifests; the text says why."""


def copy(directory: Path, *, anew: bool = False) -> Path:
    """Copy what overlays are made of to `directory`, complete its secrets, return it; `anew`: with other secrets."""
    for source in SOURCES:
        shutil.copytree(ROOT / source, directory / source, dirs_exist_ok=True)
    if anew:
        for file in (directory / secrets.K8S).rglob("*"):
            if file.is_file() and file.name != "kustomization.yaml":
                file.unlink()
    with redirect_stdout(sys.stderr):
        secrets.main(["--root", str(directory)])
    return directory


def check_kubectl() -> None:
    """Raise `NotRendered` unless a kubectl is in PATH that knows how these directories are written."""
    try:
        answer = _kubectl("version", "--client", "--output=json")
    except FileNotFoundError:
        raise NotRendered("kubectl is missing; 1.27 or later is needed") from None
    version = json.loads(answer).get("kustomizeVersion", "v0")
    if int(version.lstrip("v").partition(".")[0]) < KUSTOMIZE:
        raise NotRendered(f"this kubectl has kustomize {version}; 1.27 or later is needed")


def render(directory: Path) -> list[Object]:
    """Return the objects that the kustomization in `directory` makes; raise `NotRendered`."""
    return [document for document in yaml.safe_load_all(render_text(directory)) if document]


def render_text(directory: Path) -> str:
    """Return what `kubectl kustomize` writes for `directory`; raise `NotRendered`."""
    return _kubectl("kustomize", str(directory))


def _kubectl(*words: str) -> str:
    try:
        result = subprocess.run(["kubectl", *words], capture_output=True, text=True, timeout=RENDER_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotRendered(f"kubectl {words[0]} took longer than {RENDER_SECONDS} s") from None
    if result.returncode:
        raise NotRendered(result.stderr.strip())
    return result.stdout


def main(arguments: list[str] | None = None) -> int:
    """Render every overlay into a directory and validate it against the schemas; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.manifests", description="Render and check k8s/overlays.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "manifests", help="directory to write into")
    output: Path = parser.parse_args(arguments).output
    rules.write()
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrong = 0
    try:
        check_kubectl()
        with tempfile.TemporaryDirectory(prefix="parley-manifests-") as scratch:
            root = copy(Path(scratch))
            for overlay in OVERLAYS:
                text = render_text(root / "k8s" / "overlays" / overlay)
                wrong += _keep(output / f"{overlay}.yaml", text)
    except NotRendered as error:
        print(f"manifests: {error}", file=sys.stderr)
        return 1
    return 1 if wrong else 0


def _keep(file: Path, text: str) -> int:
    """Write one overlay, which holds secrets, and return how much is wrong with it."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
    objects = [document for document in yaml.safe_load_all(text) if document]
    problems = [f"{version}: {line}" for version in schemas.VERSIONS for line in schemas.problems(objects, version)]
    for line in problems:
        print(f"manifests: {file.name}: {line}", file=sys.stderr)
    if not problems:
        print(f"manifests: {file} holds {len(objects)} objects, valid for Kubernetes {', '.join(schemas.VERSIONS)}")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
