"""`python -m deploy.images [-- OPTIONS]`: build every image of the Dockerfile, with options of docker build."""

import argparse
import ast
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("gateway", "auth", "chat", "canary", "nats-exporter")
"""Targets of the Dockerfile; the image of each is called parley-<target>."""
SECONDS = 1800
"""Deadline of one build, with everything to be downloaded."""


class Failed(Exception):
    """Docker could not do it; its own words have been shown."""


def version(source: str) -> str:
    """Return VERSION as the text of chassis/app.py sets it."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "VERSION" for t in node.targets):
            return str(ast.literal_eval(node.value))
    raise ValueError("chassis/app.py sets no VERSION")


def git(*arguments: str, otherwise: str) -> str:
    """Return what git prints about this repository; `otherwise` where there is no git or no repository."""
    try:
        run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30)
    except OSError:
        return otherwise
    return run.stdout.strip() if run.returncode == 0 and run.stdout.strip() else otherwise


def build_arguments(tag: str) -> list[str]:
    """Return what all images of this commit are told: asked once, since the next commit may come while we build."""
    arguments = {
        "VERSION": tag,
        "REVISION": git("rev-parse", "HEAD", otherwise="unknown"),
        "SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct", otherwise=str(int(time.time()))),
    }
    return [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]


def build(image: str, target: str, options: list[str]) -> None:
    """Build one target, with docker's own output; raise `Failed`."""
    command = ["docker", "buildx", "build", "--load", "--target", target, "--tag", image, *options, "."]
    try:
        subprocess.run(command, cwd=ROOT, check=True, timeout=SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        raise Failed(f"{image}: {error.__class__.__name__}; docker with buildx is needed") from None


def inspected(image: str) -> tuple[int, list[str]]:
    """Return size in bytes and the digests of the layers of an image."""
    shown = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=True, timeout=30).stdout
    found = json.loads(shown)[0]
    return int(found["Size"]), list(found["RootFS"]["Layers"])


def build_all(tag: str, options: list[str]) -> dict[str, tuple[int, list[str]]]:
    """Build every target; return image to size and layers."""
    found = {}
    for number, target in enumerate(TARGETS, 1):
        started = time.monotonic()
        image = f"parley-{target}:{tag}"
        print(f"images: {number} of {len(TARGETS)}, {image}", flush=True)
        build(image, target, options)
        found[target] = inspected(image)
        print(f"images: {image} built in {time.monotonic() - started:.0f} s", flush=True)
    return found


def differences(first: dict[str, tuple[int, list[str]]], second: dict[str, tuple[int, list[str]]]) -> list[str]:
    """Return a line on each layer that is not the same in both builds."""
    return [
        f"parley-{target}: layer {number} of {len(layers)} differs"
        for target, (_, layers) in first.items()
        for number, (one, other) in enumerate(zip(layers, second[target][1], strict=True), 1)
        if one != other
    ]


def main(arguments: list[str] | None = None) -> int:
    """Build, and print a table of sizes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description="Build the image of every service.")
    parser.add_argument("--twice", action="store_true", help="build again without any cache, and compare the layers")
    parser.add_argument(
        "options", nargs="*", metavar="-- OPTION", help="handed to docker build, such as --network host"
    )
    given = parser.parse_args(arguments)
    tag = version((ROOT / "chassis" / "app.py").read_text())
    try:
        options = [*build_arguments(tag), *given.options]
        found = build_all(tag, options)
        again = build_all(tag, ["--no-cache", *options]) if given.twice else found
    except (Failed, subprocess.SubprocessError) as error:
        print(f"images: not built: {error}", file=sys.stderr)
        return 1
    show(tag, found)
    lines = differences(found, again)
    for line in lines or (["both builds have the same layers"] if given.twice else []):
        print(f"images: {line}")
    return 1 if lines else 0


def show(tag: str, found: dict[str, tuple[int, list[str]]]) -> None:
    """Print the size of each image, and how much of it all have in common."""
    for target, (size, layers) in found.items():
        print(f"images: {f'parley-{target}:{tag}':<28} {size / 1e6:5.0f} MB in {len(layers)} layers")
    common = 0
    for places in zip(*(layers for _, layers in found.values()), strict=False):  # some have more
        common += len(set(places)) == 1
    print(f"images: {common} of the layers are the same in all of them, and stored once")


if __name__ == "__main__":
    sys.exit(main())
