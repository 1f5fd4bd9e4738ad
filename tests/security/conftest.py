"""Systems to attack: low limits that are soon reached, and logs that a machine can read."""

from collections.abc import Iterator

import pytest

from tests.bench.ring import Ring
from tests.system.conftest import ONE_ADDRESS, enter, entered, frames, issuer

__all__ = ["enter", "entered", "frames", "issuer"]

BURST = 50
USER_CONNECTIONS = 6
STRANGERS = 40


@pytest.fixture(scope="session")
def guarded_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One running system with a low rate of commands and few connections of a user."""
    settings = {
        "COMMAND_BURST": str(BURST),
        "COMMANDS_PER_SECOND": "5",
        "MAX_USER_CONNECTIONS": str(USER_CONNECTIONS),
        "MAX_UNAUTHENTICATED_CONNECTIONS": str(STRANGERS),
        "LEASE_SECONDS": "2",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
    }
    ring = Ring(tmp_path_factory.mktemp("guarded") / "data", settings | ONE_ADDRESS)
    try:
        yield ring.start()
    finally:
        ring.end()
