"""The overlays, rendered once: as they are, and with each component that a team may add."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import manifests
from tests.manifests.objects import Manifests

PREFIX = "parley-manifests-"


@pytest.fixture(scope="session")
def tree() -> Iterator[Path]:
    """A copy of what overlays are made of, with secrets of its own."""
    manifests.check_kubectl()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        yield manifests.copy(Path(directory), anew=True)


@pytest.fixture(scope="session")
def local(tree: Path) -> Manifests:
    """The overlay of one small cluster."""
    return Manifests(manifests.render(tree / "k8s" / "overlays" / "local"))


@pytest.fixture(scope="session")
def production(tree: Path) -> Manifests:
    """The overlay of production."""
    return Manifests(manifests.render(tree / "k8s" / "overlays" / "production"))


@pytest.fixture(scope="session")
def base(tree: Path) -> Manifests:
    """What both are made of."""
    return Manifests(manifests.render(tree / "k8s" / "base"))


@pytest.fixture(params=["local", "production"])
def overlay(request: pytest.FixtureRequest) -> Manifests:
    """Each of the two overlays."""
    found: Manifests = request.getfixturevalue(request.param)
    return found
