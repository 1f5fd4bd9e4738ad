"""Whether a name exists cannot be told by the clock: logins of both kinds take turns, and their ranks are compared.

A busy machine makes single answers slow, but as often those of one kind as of the other; so not times are compared but
how often one kind was slower (the statistic of Mann and Whitney as a share; 0.5 is no difference at all).
"""

import time

from tests.service.auth.conftest import Services
from tests.service.auth.running import Running, refused

PAIRS = 60
FAR = 0.25
"""More than four standard deviations for so many pairs: sqrt((2n + 1) / 12) / n = 0.053."""


def share_slower(one: list[float], other: list[float]) -> float:
    """Return the share of all pairs in which `one` was slower; ties count half."""
    wins = sum((a > b) + (a == b) / 2 for a in one for b in other)
    return wins / (len(one) * len(other))


async def seconds(auth: Running, username: str) -> float:
    """Return how long a login with a wrong password takes."""
    started = time.perf_counter()
    refused(await auth.login(username, "not the password"), 401, "invalid_credentials")
    return time.perf_counter() - started


async def test_the_clock_does_not_tell_who_exists(services: Services) -> None:
    """Names that exist and names that do not are slower equally often, for accounts with and without failures."""
    auth = await services(
        auth_argon2_memory_kib=2048, auth_argon2_passes=2, auth_failures_free=1000, auth_address_password_burst=0
    )
    for number in range(PAIRS):
        await auth.register(f"somebody{number}")
    known, unknown = [], []
    for number in range(PAIRS):  # in turns, each first as often as the other
        pairs = [(known, f"somebody{number}"), (unknown, f"nobody{number}")]
        for times, name in pairs if number % 2 else reversed(pairs):
            times.append(await seconds(auth, name))
    assert abs(share_slower(known, unknown) - 0.5) < FAR


async def test_the_measure_sees_a_hash_that_is_left_out(services: Services) -> None:
    """A login that is refused without a hash, as an empty body of one is, is told apart by the same measure."""
    auth = await services(
        auth_argon2_memory_kib=2048, auth_argon2_passes=2, auth_failures_free=1000, auth_address_password_burst=0
    )
    hashed, unhashed = [], []
    for number in range(PAIRS):
        hashed.append(await seconds(auth, f"nobody{number}"))
        started = time.perf_counter()
        refused(await auth.post("/auth/login", {"username": f"nobody{number}"}), 422, "invalid_request")
        unhashed.append(time.perf_counter() - started)
    assert share_slower(hashed, unhashed) - 0.5 > FAR
