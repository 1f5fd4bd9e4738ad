"""The HTTP side: limits of bodies, origins, problems, readiness, and what the logs never say."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.bench.ports import free_port
from tests.bench.postgres import Postgres
from tests.service.auth.conftest import Services
from tests.service.auth.running import Running, eventually, good, refused


async def test_body_too_large(auth: Running) -> None:
    """A body over 16 KiB is answered 413 before anything is hashed, whether it states its length or not."""
    body = json.dumps({"username": "ann", "password": "x" * 20000}).encode()
    before = (await auth.client.get("/metrics")).text

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    for content in (body, pieces()):
        answer = await auth.client.post("/auth/login", content=content, headers={"Content-Type": "application/json"})
        refused(answer, 413, "too_large")
    line = "parley_auth_argon2_duration_seconds_count"
    after = (await auth.client.get("/metrics")).text
    assert [text for text in before.splitlines() if line in text] == [
        text for text in after.splitlines() if line in text
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b"\xff",
        b'{"name":"\\ud800"}',
        b"[" * 16000,
        b'{"name":' + b"9" * 16000 + b"}",
        b'{"name":NaN}',
        b'{"name":1e999}',
        b"name=ann",
    ],
)
async def test_body_that_is_no_request(auth: Running, body: bytes) -> None:
    """A body that is not the JSON asked for is a problem of the client, never of the service."""
    answer = await auth.client.post("/auth/guest", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "invalid_request")


async def test_unknown_paths_and_methods(auth: Running) -> None:
    """What does not exist is a problem document too."""
    refused(await auth.client.get("/auth/nothing"), 404, "not_found")
    refused(await auth.client.get("/auth/login"), 405, "method_not_allowed")


async def test_origins(services: Services) -> None:
    """Pages of configured origins may read answers, refusals included; pages of others may not."""
    auth = await services(allowed_origins=["https://chat.example"])

    async def allowed(origin: str, method: str = "POST", size: int = 2) -> str | None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Content-Type": "application/json"}
        answer = await auth.client.request(method, "/auth/guest", headers=headers, content=b" " * size)
        return answer.headers.get("access-control-allow-origin")

    assert await allowed("https://chat.example") == "https://chat.example"
    assert await allowed("https://chat.example", "OPTIONS") == "https://chat.example"
    assert await allowed("https://chat.example", size=20000) == "https://chat.example"
    for other in ("https://chat.example.evil.test", "http://chat.example", "https://chat.example:444", "null"):
        assert await allowed(other) is None
        assert await allowed(other, "OPTIONS") is None


async def test_pages_can_read_when_to_retry(services: Services) -> None:
    """A page of another origin sees the Retry-After of a refusal."""
    auth = await services(auth_address_guest_burst=1)
    await auth.guest()
    headers = {"Origin": auth.settings.origins[0]}
    answer = await auth.client.post("/auth/guest", json={"name": "Guest"}, headers=headers)
    refused(answer, 429, "too_many_requests")
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


async def test_documentation(auth: Running) -> None:
    """The API describes itself, every refusal as a problem document."""
    assert (await auth.client.get("/auth/docs")).status_code == 200
    paths: dict[str, Any] = good(await auth.client.get("/auth/openapi.json"))["paths"]
    names = ("register", "login", "password", "guest", "refresh", "logout", "me", "tickets")
    assert set(paths) == {f"/auth/{name}" for name in names} | {"/.well-known/jwks.json"}
    for operations in paths.values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert response["content"]["application/problem+json"]["schema"]["title"] == "ProblemBody"


async def test_answers_with_secrets_are_not_cached(auth: Running) -> None:
    """Answers that hold tokens say that nobody may store them."""
    answer = await auth.post("/auth/guest", {"name": "Guest"})
    assert answer.headers["cache-control"] == "no-store"


async def test_without_database_and_nats(services: Services) -> None:
    """Without database and NATS it lives, says what is missing, and answers 503 with a time to retry."""
    auth = await services(prepared=False, auth_database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    assert (await auth.client.get("/health/live")).status_code == 200
    assert set(await auth.missing()) == {"database", "nats", "keys"}
    refused(await auth.post("/auth/guest", {"name": "Guest"}), 503, "unavailable")
    refused(await auth.login(), 503, "unavailable")
    refused(await auth.client.get("/.well-known/jwks.json"), 503, "unavailable")


async def test_database_goes_and_comes_back(services: Services) -> None:
    """While PostgreSQL is away requests get 503 and keys stay published; when it is back all goes on."""
    cluster = Postgres()
    try:
        cluster.start()
        auth = await services(auth_database_url=cluster.url(), auth_key_reload_seconds=0.05, auth_clean_seconds=0.05)
        tokens = await auth.register("ann")
        cluster.kill()
        refused(await auth.me(tokens["access_token"]), 503, "unavailable")
        refused(await auth.login("ann"), 503, "unavailable")
        refused(await auth.refresh(tokens["refresh_token"]), 503, "unavailable")
        assert good(await auth.client.get("/.well-known/jwks.json"))["keys"]
        assert "database" in await auth.missing()
        cluster.start()

        async def back() -> bool:
            return "database" not in await auth.missing()

        await eventually(back, "the database is found again")
        assert (await auth.refresh(tokens["refresh_token"])).status_code == 200
    finally:
        cluster.remove()


async def test_starts_before_its_database(services: Services) -> None:
    """A service that starts before PostgreSQL prepares itself when it comes."""
    cluster = Postgres()
    try:
        url = f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres"
        auth = await services(prepared=False, auth_database_url=url)
        assert "keys" in await auth.missing()
        cluster.start()

        async def prepared() -> bool:
            return not {"keys", "database"} & set(await auth.missing())

        await eventually(prepared, "schema and keys are made")
        await auth.guest()
    finally:
        cluster.remove()
