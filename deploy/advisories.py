"""`python -m deploy.advisories`: fail when a lock pins a release with a known hole (requirements/advisories.toml).

It knows only what that list names: tools that ask a feed report nothing where the feed is out of reach, and look the
same as when all is well. The rule is pure; `tests/unit/test_advisories.py` shows that it fails what it has to fail.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIST = "requirements/advisories.toml"
PYTHON_LOCKS = "requirements/*.txt"
NPM_LOCKS = ("web/package-lock.json", "tests/system/npm/package-lock.json", "benchmarks/peers/node/package-lock.json")

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_RELEASE = re.compile(r"v?(?:\d+!)?(\d+(?:\.\d+)*)(.*)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of one lock. `ecosystem` is `pypi` or `npm`; the name is normalised."""

    lock: str
    ecosystem: str
    package: str
    version: str


@dataclass(frozen=True, slots=True)
class Advisory:
    """Releases of a package before `fixed` have the hole `id`."""

    ecosystem: str
    package: str
    fixed: str
    id: str
    lesson: str


@dataclass(frozen=True, slots=True)
class Known:
    """The list: advisories, and locks that are left out with the reason."""

    advisories: tuple[Advisory, ...]
    exempt: dict[str, str]


def read(text: str) -> Known:
    """Return the list in `text` (TOML); raise `ValueError` or `KeyError` when it is none."""
    found: dict[str, Any] = tomllib.loads(text)
    advisories = tuple(
        Advisory(
            one.get("ecosystem", "pypi"), normalised(one["package"]), one["fixed"], one["id"], one["lesson"].strip()
        )
        for one in found["advisory"]
    )
    for one in advisories:
        _release(one.fixed)
    return Known(advisories, {one["lock"]: one["reason"] for one in found.get("exempt", ())})


def normalised(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower() if not name.startswith("@") else name


def python_pins(lock: str, text: str) -> list[Pin]:
    """Return what a requirements lock pins."""
    return [Pin(lock, "pypi", normalised(name), version) for name, version in _PIN.findall(text)]


def npm_pins(lock: str, text: str) -> list[Pin]:
    """Return what a package-lock.json pins."""
    packages: dict[str, dict[str, Any]] = json.loads(text)["packages"]
    return [
        Pin(lock, "npm", normalised(one.get("name") or path.rpartition("node_modules/")[2]), one["version"])
        for path, one in packages.items()
        if path and "version" in one
    ]


def is_before(version: str, fixed: str) -> bool:
    """Tell whether `version` came before `fixed`; a pre-release comes before its release."""
    (numbers, rest), (others, _) = _release(version), _release(fixed)
    width = max(len(numbers), len(others))
    ours, theirs = (one + (0,) * (width - len(one)) for one in (numbers, others))
    return ours < theirs or (ours == theirs and bool(re.match(r"[-._]?(a|b|c|rc|alpha|beta|pre|dev)", rest)))


def _release(version: str) -> tuple[tuple[int, ...], str]:
    found = _RELEASE.fullmatch(version.lower())
    if found is None:
        raise ValueError(f"no version: {version}")
    return tuple(int(one) for one in found[1].split(".")), found[2]


def holes(pins: Iterable[Pin], known: Known) -> Iterator[tuple[Pin, Advisory]]:
    """Yield each pin with each advisory that it falls under."""
    for pin in pins:
        if pin.lock in known.exempt:
            continue
        for one in known.advisories:
            if (pin.ecosystem, pin.package) == (one.ecosystem, one.package) and is_before(pin.version, one.fixed):
                yield pin, one


def pins_below(root: Path) -> list[Pin]:
    """Return what every lock below `root` pins."""
    found: list[Pin] = []
    for file in sorted(root.glob(PYTHON_LOCKS)):
        found += python_pins(file.relative_to(root).as_posix(), file.read_text())
    for name in NPM_LOCKS:
        if (root / name).exists():
            found += npm_pins(name, (root / name).read_text())
    return found


def main(root: Path = ROOT) -> int:
    """Print what was found below `root`; return 1 when a pin has a known hole, 2 when nothing was looked at."""
    known, pins = read((root / LIST).read_text()), pins_below(root)
    found = list(holes(pins, known))
    for pin, one in found:
        print(f"{pin.lock}: {pin.package} {pin.version} has {one.id}, fixed in {one.fixed}: {one.lesson}")
    names = {(one.ecosystem, one.package) for one in known.advisories}
    looked = {(pin.ecosystem, pin.package) for pin in pins if pin.lock not in known.exempt}
    print(
        f"advisories: {len(found)} found among {len(looked)} packages; the list knows {len(known.advisories)} "
        f"advisories of {len(names)} packages, {len(names & looked)} of them in our locks, and nothing else"
    )
    return 1 if found else 0 if looked else 2


if __name__ == "__main__":
    sys.exit(main())
