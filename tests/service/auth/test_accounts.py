"""Accounts: registering, logging in, and what guessing gets."""

import asyncio
import statistics
import time
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.service.auth.conftest import Services
from tests.service.auth.running import PASSWORD, Clock, Running, good, refused


async def test_register_signs_in(stored: Running) -> None:
    """Registering answers with tokens of the new account, under the name as it was typed."""
    tokens = await stored.register("Ann.B")
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "user"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["user"]["name"]) == ("Bearer", 600, "Ann.B")
    me = good(await stored.me(tokens["access_token"]))
    assert me["user"] == {"id": tokens["user"]["id"], "name": "Ann.B", "guest": False}


async def test_login_folds_the_name(stored: Running) -> None:
    """A username means the same account in any case, and each login opens a session of its own."""
    first = await stored.register("Ann")
    second = good(await stored.login("aNN"))
    assert second["user"] == first["user"]
    sessions = {good(await stored.me(tokens["access_token"]))["session"]["id"] for tokens in (first, second)}
    assert len(sessions) == 2


async def test_username_taken(stored: Running) -> None:
    """A name that differs only in case is taken, for the second of two racing registrations as well."""
    body = {"password": PASSWORD}
    names = ["ann", "ANN", "Ann", "aNn"]
    answers = await asyncio.gather(*(stored.post("/auth/register", {"username": name, **body}) for name in names))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    refused(await stored.post("/auth/register", {"username": "ann", **body}), 409, "username_taken")


async def test_guest(stored: Running) -> None:
    """A guest gets a name that is trimmed and normalised, and several may have the same."""
    first, second = await stored.guest("  Zoe\u0308 "), await stored.guest("Zo\u00eb")
    assert first["user"]["name"] == second["user"]["name"] == "Zo\u00eb"
    assert first["user"]["id"] != second["user"]["id"]
    assert good(await stored.me(first["access_token"]))["user"]["guest"] is True


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/auth/register", {"username": "an", "password": PASSWORD}),
        ("/auth/register", {"username": "an n", "password": PASSWORD}),
        ("/auth/register", {"username": "\u212aann", "password": PASSWORD}),
        ("/auth/register", {"username": "ann\n", "password": PASSWORD}),
        ("/auth/register", {"username": "ann", "password": "short"}),
        ("/auth/register", {"username": "ann", "password": "x" * 129}),
        ("/auth/register", {"username": "ann", "password": "Password1"}),
        ("/auth/register", {"username": "annannann", "password": "annAnnann"}),
        ("/auth/register", {"username": "ann"}),
        ("/auth/register", {"username": "ann", "password": PASSWORD, "admin": True}),
        ("/auth/guest", {"name": "  "}),
        ("/auth/guest", {"name": "x" * 41}),
        ("/auth/guest", {"name": "a\u202eb"}),
        ("/auth/guest", {"name": "a\u0000b"}),
        ("/auth/guest", {"name": 5}),
        ("/auth/guest", []),
        ("/auth/refresh", {}),
        ("/auth/refresh", {"refresh_token": ""}),
    ],
)
async def test_invalid_fields(auth: Running, path: str, body: Any) -> None:
    """A field that does not follow its rule is named, and its value is not repeated."""
    problem = refused(await auth.post(path, body), 422, "invalid_request")
    if isinstance(body, dict):
        for value in body.values():
            assert str(value).strip() not in problem["detail"] or len(str(value).strip()) < 3


@pytest.mark.parametrize(
    "password", ["p\u00e4ssw\u00f6rter", "🔑🔑🔑🔑🔑🔑🔑🔑", "nul\u0000inside it", "x" * 128, "  spaces kept  "]
)
async def test_any_password_works_whole(auth: Running, password: str) -> None:
    """A password of any characters is neither cut off nor trimmed."""
    await auth.register("ann", password)
    assert (await auth.login("ann", password)).status_code == 200
    for other in (password[:-1], password.strip() if password != password.strip() else password + "x"):
        refused(await auth.login("ann", other), 401, "invalid_credentials")


async def test_password_composed_another_way(auth: Running) -> None:
    """A keyboard that sends letters and accents apart types the same password."""
    await auth.register("ann", "caf\u00e9 au lait")
    assert (await auth.login("ann", "cafe\u0301 au lait")).status_code == 200


async def test_unknown_name_and_wrong_password_look_alike(stored: Running) -> None:
    """Nobody learns from an answer, or from its absence of variety, which names exist."""
    await stored.register("ann")
    for _ in range(8):  # the back-off after the free failures included
        wrong = await stored.login("ann", "not the password")
        unknown = await stored.login("bob", "not the password")
        assert wrong.status_code == unknown.status_code
        assert wrong.content == unknown.content
        assert {name for name in wrong.headers if name != "x-request-id"} == {
            name for name in unknown.headers if name != "x-request-id"
        }


async def test_unknown_name_takes_as_long(services: Services) -> None:
    """A login as nobody costs one hash, as any does."""
    real = {"auth_argon2_memory_kib": 19456, "auth_argon2_passes": 2}
    auth = await services(**real, auth_failures_free=1000, auth_address_password_burst=0)
    await auth.register("ann")

    async def seconds(username: str) -> float:
        started = time.perf_counter()
        refused(await auth.login(username, "not the password"), 401, "invalid_credentials")
        return time.perf_counter() - started

    known, unknown = [], []
    for _ in range(15):
        known.append(await seconds("ann"))
        unknown.append(await seconds("bob"))
    assert 0.5 < statistics.median(known) / statistics.median(unknown) < 2


async def test_backs_off_after_failures(stored: Running, clock: Clock) -> None:
    """After five failures an account waits, twice as long after each further one; then the right password works."""
    await stored.register("ann")
    for _ in range(5):
        refused(await stored.login("ann", "not the password"), 401, "invalid_credentials")
    waits = []
    for _ in range(3):
        answer = await stored.login("ann")  # even the right password, so that guessing learns nothing
        refused(answer, 429, "too_many_requests")
        waits.append(int(answer.headers["retry-after"]))
        clock.ahead += waits[-1]
        refused(await stored.login("ann", "not the password"), 401, "invalid_credentials")
    assert waits == [1, 2, 4]
    clock.ahead += 8
    assert (await stored.login("ann")).status_code == 200
    refused(await stored.login("ann", "not the password"), 401, "invalid_credentials")  # counts anew
    assert (await stored.login("ann")).status_code == 200


async def test_backing_off_does_not_end_sessions(auth: Running) -> None:
    """Whoever is signed in stays so while somebody guesses the password."""
    tokens = await auth.register("ann")
    for _ in range(6):
        await auth.login("ann", "not the password")
    assert (await auth.me(tokens["access_token"])).status_code == 200
    assert (await auth.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("replicas", [1, 2])
async def test_few_of_many_guesses_are_evaluated(services: Services, database_url: str, replicas: int) -> None:
    """Of 200 guesses sent at once, to one replica or two, a handful reach the hash."""
    options: dict[str, Any] = {"auth_database_url": database_url, "auth_address_password_burst": 0}
    made = [await services(**options) for _ in range(replicas)]
    await made[0].register("ann")
    guesses = [made[i % replicas].login("ann", f"guess number {i}") for i in range(200)]
    answers = await asyncio.gather(*guesses)
    counted = [answer.status_code for answer in answers]
    assert set(counted) == {401, 429}
    assert counted.count(401) <= 5 + 2 * replicas


async def test_parallel_logins_of_one_account(stored: Running) -> None:
    """Several devices may log in at the same moment with the right password."""
    await stored.register("ann")
    answers = await asyncio.gather(*(stored.login("ann") for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10


async def test_address_limits(services: Services) -> None:
    """One address has so many logins and so many guests at once, and waits for more."""
    auth = await services(auth_address_password_burst=3, auth_address_guest_burst=2)
    for _ in range(3):
        refused(await auth.login("ann"), 401, "invalid_credentials")
    refused(await auth.login("ann"), 429, "too_many_requests")
    await auth.guest()
    await auth.guest()
    refused(await auth.post("/auth/guest", {"name": "Guest"}), 429, "too_many_requests")


async def test_fifty_guests_from_one_address(auth: Running) -> None:
    """The default limits leave room for a class of students behind one address."""
    answers = await asyncio.gather(*(auth.guest(f"Student {number}") for number in range(50)))
    assert len({answer["user"]["id"] for answer in answers}) == 50


async def test_too_many_hashes(services: Services) -> None:
    """When more hashes wait than the queue holds, logins are refused with 503 and nothing is counted as a failure."""
    real = {"auth_argon2_memory_kib": 19456, "auth_argon2_passes": 2}
    auth = await services(**real, auth_argon2_running=1, auth_argon2_queue=2, auth_address_password_burst=0)
    answers = await asyncio.gather(*(auth.login(f"user{number}") for number in range(20)))
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {401, 503}
    assert codes.count(401) >= 3
    for answer in answers:
        if answer.status_code == 503:
            refused(answer, 503, "unavailable")
    page = (await auth.client.get("/metrics")).text
    assert "parley_auth_argon2_overflows_total" in page
    assert "parley_auth_argon2_waiting 0.0" in page


async def test_hash_is_renewed_at_login(services: Services, database_url: str) -> None:
    """A login rewrites a hash that was made with cheaper parameters."""
    first = await services(auth_database_url=database_url)
    await first.register("ann")
    second = await services(auth_database_url=database_url, auth_argon2_memory_kib=128)
    accounts = second.parts.login._accounts
    before = await accounts.by_username("ann")
    assert (await second.login("ann")).status_code == 200
    after = await accounts.by_username("ann")
    assert before is not None
    assert after is not None
    assert "m=64," in str(before.password_hash)
    assert "m=128," in str(after.password_hash)
    assert PasswordHasher().verify(str(after.password_hash), PASSWORD)
    assert (await second.login("ann")).status_code == 200
