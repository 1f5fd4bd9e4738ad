"""Signing keys: made once, published before they sign, kept while a token of theirs may live."""

import asyncio
import sys
from pathlib import Path

import jwt
from pydantic import SecretStr

from auth_service.app import MIGRATIONS, open_database
from auth_service.keyring import Keyring
from auth_service.models import VERSION_TABLE
from auth_service.sessions import Sessions
from auth_service.settings import DAY, Settings
from tests.bench.ports import free_port
from tests.bench.postgres import Postgres
from tests.service.auth.conftest import Services
from tests.service.auth.running import Clock, Running, eventually, good, refused


async def kids(auth: Running) -> list[str]:
    """The ids of the published keys, oldest first."""
    return [key["kid"] for key in good(await auth.client.get("/.well-known/jwks.json"))["keys"]]


def signer(token: str) -> str:
    """The key id in a token's header."""
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


async def test_published_key_verifies(stored: Running) -> None:
    """Another program verifies an access token with the published key and finds the promised claims."""
    tokens = await stored.register("Ann")
    answer = await stored.client.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=120"
    (key,) = good(answer)["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert set(key) == {"kty", "crv", "alg", "use", "kid", "x"}  # no private part
    token = tokens["access_token"]
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": key["kid"]}
    claims = jwt.decode(token, jwt.PyJWK(key), algorithms=["EdDSA"], audience="parley", issuer="parley")
    assert set(claims) == {"iss", "aud", "typ", "sub", "sid", "name", "iat", "exp", "jti"}
    assert (claims["typ"], claims["sub"], claims["name"]) == ("access", tokens["user"]["id"], "Ann")
    assert claims["exp"] - claims["iat"] == 600


async def test_replicas_share_one_first_key(database_url: str) -> None:
    """Replicas that start together on an empty database end up with one key and one secret."""
    settings = Settings(auth_database_url=SecretStr(database_url))
    databases = [open_database(settings) for _ in range(4)]
    try:
        await databases[0].migrate(MIGRATIONS, VERSION_TABLE)
        keyrings = [Keyring(database, settings) for database in databases]
        stores = [Sessions(database, settings) for database in databases]
        await asyncio.gather(*(keyring.load() for keyring in keyrings), *(store.prepare() for store in stores))
        assert len({key.kid for keyring in keyrings for key in keyring.ring.keys}) == 1
        assert len({store._secret for store in stores}) == 1
    finally:
        for database in databases:
            await database.close()


async def test_replicas_serve_each_others_sessions(services: Services, database_url: str) -> None:
    """What one replica issued, another accepts."""
    first, second = [await services(auth_database_url=database_url) for _ in range(2)]
    assert await kids(first) == await kids(second)
    tokens = await first.guest()
    assert (await second.me(tokens["access_token"])).status_code == 200
    assert (await second.refresh(tokens["refresh_token"])).status_code == 200


async def test_postgresql_replicas_migrate_together(postgres: Postgres) -> None:
    """On PostgreSQL several replicas may make the schema at once."""
    url = postgres.url()
    outcomes = await asyncio.gather(*(run("migrate", AUTH_DATABASE_URL=url) for _ in range(3)))
    assert [code for code, _ in outcomes] == [0, 0, 0], outcomes


async def test_rotation(stored: Running, clock: Clock) -> None:
    """The next key is published, later it signs, and the old one stays until its tokens have ended."""
    old = await stored.guest()
    (first,) = await kids(stored)
    await stored.parts.keyring.rotate()
    first_again, second = await kids(stored)
    assert first_again == first
    assert signer((await stored.guest())["access_token"]) == first  # published, does not sign yet

    clock.ahead += 301
    fresh = await stored.guest()
    assert signer(fresh["access_token"]) == second
    assert (await stored.me(old["access_token"])).status_code == 200  # of the old key, still good
    assert await kids(stored) == [first, second]

    clock.ahead += 901
    assert await kids(stored) == [second]
    refused(await stored.me(old["access_token"]), 401, "invalid_token")
    assert (await stored.refresh(old["refresh_token"])).status_code == 200  # the session does not depend on keys


async def test_rotating_twice_makes_one_key(services: Services, database_url: str) -> None:
    """While a key waits for its time, further rotations, of other replicas too, do nothing."""
    replicas = [await services(auth_database_url=database_url) for _ in range(2)]
    made = await asyncio.gather(*(replica.parts.keyring.rotate() for replica in replicas * 3))
    assert len({key.kid for key in made}) == 1
    assert [key.generation for key in replicas[0].parts.keyring.ring.keys] == [1, 2]


async def test_rotation_by_age(services: Services, database_url: str, clock: Clock) -> None:
    """A key that has signed for its time is followed by the next, published long before; nobody has to do anything."""
    auth = await services(auth_database_url=database_url, auth_key_reload_seconds=0.05)
    (first,) = await kids(auth)
    clock.ahead += 30 * DAY - 290

    async def both() -> bool:
        return len(await kids(auth)) == 2

    await eventually(both, "the next key is published")
    assert signer((await auth.guest())["access_token"]) == first
    clock.ahead += 301
    assert signer((await auth.guest())["access_token"]) != first
    clock.ahead += 901

    async def forgotten() -> bool:
        return len(auth.parts.keyring.ring.keys) == 1

    await eventually(forgotten, "the retired private key is deleted")


async def test_compromised_key_is_forgotten(stored: Running) -> None:
    """After a compromise the new key signs at once, and tokens of the old one are refused."""
    old = await stored.guest()
    (first,) = await kids(stored)
    await stored.parts.keyring.replace_all()
    (second,) = await kids(stored)
    assert second != first
    refused(await stored.me(old["access_token"]), 401, "invalid_token")
    fresh = good(await stored.refresh(old["refresh_token"]))
    assert signer(fresh["access_token"]) == second


async def run(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run `python -m auth_service` with arguments and settings; return exit code and output."""
    environment = {"PATH": "/usr/bin:/bin", **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "auth_service",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_commands(database_url: str, services: Services) -> None:
    """`migrate` and `rotate-keys` work on an empty database and beside a running service; `--help` lists them."""
    where = {"AUTH_DATABASE_URL": database_url}
    code, output = await run("migrate", **where)
    assert (code, "the schema went from nothing to" in output) == (0, True), output
    code, output = await run("rotate-keys", **where)
    assert code == 0, output
    auth = await services(auth_database_url=database_url)
    first, second = await kids(auth)
    assert second in output
    code, output = await run("rotate-keys", "--compromised", **where)
    assert code == 0, output
    await auth.parts.keyring.load()
    assert not {first, second} & set(await kids(auth))
    code, output = await run("--help")
    assert code == 0
    assert "rotate-keys" in output
    assert "migrate" in output


async def test_commands_without_a_database() -> None:
    """A command that cannot reach the database says so in a line and fails."""
    code, output = await run("migrate", AUTH_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    assert code == 1
    assert "the database cannot be reached" in output
    assert "Traceback" not in output
