"""Who is let in: every kind of credential, every kind of forgery, and what ends a session."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bench.clients import Account, Frames, bearer, eventually, guest, http, registered, sign_in, ticket
from tests.bench.issuer import Issuer, encode
from tests.bench.people import Person
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]


@pytest.fixture(scope="module")
def ring(strict_ring: Ring) -> Ring:
    """The system these tests share with others; it trusts the issuer of the tests as well."""
    return strict_ring


def page_of(ring: Ring, host: str = "localhost") -> str:
    """Return the origin of the gateway's own page."""
    return f"http://{host}:{ring.ports['gateway']}"


async def refused_handshake(ring: Ring, query: str = "", **options: Any) -> int:
    """Return the HTTP status with which the handshake is refused."""
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(ring.websocket_url + query, proxy=None, **options)
    assert refusal.value.response.status_code != 101
    return refusal.value.response.status_code


async def whoami(one: Frames) -> str:
    """Return the name under which a connection speaks."""
    room = await one.make_room()
    name: str = (await one.call("room.members", room=room))["members"][0]["name"]
    return name


# Credentials that are good.


async def test_a_connect_token_lets_in(ring: Ring, frames: Open) -> None:
    """The token of the connect command, a guest's or a registered user's, says who speaks."""
    for account in (await guest(ring, "Ann of Tests"), await registered(ring)):
        one = await frames(ring)
        await one.enter(account.access)
        assert await whoami(one) == account.name


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_an_authorization_header_lets_in(ring: Ring, frames: Open, scheme: str) -> None:
    """A program may prove who it is in the handshake; its connect needs no token then."""
    account = await guest(ring, "Header")
    one = await frames(ring, additional_headers={"Authorization": f"{scheme} {account.access}"})
    await one.enter()
    assert await whoami(one) == "Header"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_cookie_lets_in_the_page_of_an_allowed_origin(ring: Ring, frames: Open, host: str) -> None:
    """The cookie `parley_token` counts when the browser names an allowed Origin."""
    account = await guest(ring, "Cookie")
    cookie = {"Cookie": f"other=1; parley_token={account.access}"}
    one = await frames(ring, origin=page_of(ring, host), additional_headers=cookie)
    await one.enter()
    assert await whoami(one) == "Cookie"


async def test_a_cookie_without_an_origin_is_nothing(ring: Ring, frames: Open) -> None:
    """Without an Origin the cookie does not count: connect without a token closes with 3501."""
    account = await guest(ring)
    one = await frames(ring, additional_headers={"Cookie": f"parley_token={account.access}"})
    await one.send(one.numbered(connect={}))
    assert (await one.end())[0] == 3501


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://localhost:{port}",
        "http://localhost:{port}.evil.example",
        "http://LOCALHOST:{port}",
        "http://localhost",
        "http://localhost:{port}/",
        "http://evil@localhost:{port}",
        "",
    ],
)
async def test_a_foreign_origin_is_refused_before_accept(ring: Ring, origin: str) -> None:
    """A page of another origin gets HTTP 403 and no WebSocket, whatever credentials the browser adds."""
    account = await guest(ring)
    headers = {"Origin": origin.format(port=ring.ports["gateway"])}
    for more in ({}, {"Cookie": f"parley_token={account.access}"}, bearer(account)):
        assert await refused_handshake(ring, additional_headers=headers | more) == 403


async def test_a_ticket_in_the_url_lets_in_once(ring: Ring, frames: Open) -> None:
    """A client that can only set a URL gets in with a ticket, and nobody after it with the same."""
    account = await guest(ring, "Ticket")
    made = await ticket(ring, account)
    one = await frames(ring, f"?ticket={made}")
    await one.enter()
    assert await whoami(one) == "Ticket"
    assert await refused_handshake(ring, f"?ticket={made}") == 403


@pytest.mark.parametrize("beside", [[], ["centrifuge-json"]], ids=["alone", "beside JSON"])
async def test_a_ticket_as_subprotocol_lets_in_once(ring: Ring, frames: Open, beside: list[str]) -> None:
    """A browser may offer `ticket.<ticket>`; it is answered with a subprotocol that it offered."""
    made = await ticket(ring, await guest(ring, "Ticket"))
    offered = [*beside, f"ticket.{made}"]
    one = await frames(ring, subprotocols=offered)
    assert one.socket.subprotocol == offered[0]
    await one.enter()
    assert await whoami(one) == "Ticket"
    assert await refused_handshake(ring, subprotocols=offered) == 403


async def test_of_twenty_with_one_ticket_one_gets_in(ring: Ring) -> None:
    """A ticket that twenty use at once, on both workers, lets in exactly one."""
    made = await ticket(ring, await guest(ring))

    async def knock() -> int:
        try:
            one = await Frames.open(ring, f"?ticket={made}")
        except websockets.InvalidStatus as refusal:
            return refusal.response.status_code
        await one.close()
        return 101

    answers = await asyncio.gather(*(knock() for _ in range(20)))
    assert sorted(answers) == [101] + [403] * 19


async def test_an_old_ticket_is_worth_nothing(ring: Ring) -> None:
    """A ticket that nobody used is refused when its AUTH_TICKET_SECONDS are over."""
    made = await ticket(ring, await guest(ring))
    end = time.monotonic() + 3.1
    await eventually(lambda: time.monotonic() > end, "its time is over")
    assert await refused_handshake(ring, f"?ticket={made}") == 403


@pytest.mark.parametrize("made", ["", "x", "a" * 43, "a" * 5000, "%00", "%C3%A9", "..%2F", "a%0D%0Ab"])
async def test_a_made_up_ticket_is_refused(ring: Ring, made: str) -> None:
    """Whatever was never a ticket is refused before accept."""
    assert await refused_handshake(ring, f"?ticket={made}") == 403


async def test_a_token_in_the_url_is_not_taken(ring: Ring, frames: Open) -> None:
    """A long-lived token in a URL would end in logs; it does not count."""
    account = await guest(ring)
    assert await refused_handshake(ring, f"?ticket={account.access}") == 403
    one = await frames(ring, f"?token={account.access}&access_token={account.access}")
    await one.send(one.numbered(connect={}))
    assert (await one.end())[0] == 3501


# Forgeries.

Forge = Callable[[Issuer, Account], str]


def changed(**claims: Any) -> Forge:
    """Return a forgery with good signature and these claims."""
    return lambda issuer, account: issuer.token(account.id, **claims)


def headed(**fields: Any) -> Forge:
    """Return a forgery with usual claims, a good signature and these header fields; None leaves one out."""

    def forge(issuer: Issuer, account: Account) -> str:
        header = {key: value for key, value in issuer.header(**fields).items() if value is not None}
        return issuer.sign(header, json.loads(decoded(issuer.token(account.id), 1)))

    return forge


def decoded(token: str, part: int) -> bytes:
    """Return one part of a token."""
    piece = token.split(".")[part]
    return base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))


def unsigned(algorithm: str) -> Forge:
    """Return a forgery that says it needs no signature."""

    def forge(issuer: Issuer, account: Account) -> str:
        claims = issuer.token(account.id).split(".")[1]
        return f"{encode(issuer.header(alg=algorithm))}.{claims}."

    return forge


def by_public_key(issuer: Issuer, account: Account) -> str:
    """Sign symmetrically, with what everybody knows as the secret."""
    signed = f"{encode(issuer.header(alg='HS256'))}.{issuer.token(account.id).split('.')[1]}"
    return f"{signed}.{encode(hmac.new(issuer.public, signed.encode(), hashlib.sha256).digest())}"


def by_own_key(issuer: Issuer, account: Account) -> str:
    """Sign with a key of one's own, which the header brings along."""
    key = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().public_bytes_raw())}
    signed = f"{encode(issuer.header(jwk=jwk))}.{issuer.token(account.id).split('.')[1]}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def tampered(issuer: Issuer, account: Account) -> str:
    """Put other claims under the auth service's own signature."""
    header, _, signature = account.access.split(".")
    other = json.loads(decoded(account.access, 1)) | {"sub": "somebodyelse"}
    return f"{header}.{encode(other)}.{signature}"


FORGERIES: dict[str, Forge] = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg empty": unsigned(""),
    "alg HS256 with the public key": by_public_key,
    "a key of one's own in the header": by_own_key,
    "tampered": tampered,
    "no signature": lambda _, account: account.access.rpartition(".")[0] + ".",
    "cut": lambda _, account: account.access[:-4],
    "another key's name": headed(kid="key-of-nobody"),
    "no key's name": headed(kid=None),
    "a path as key's name": headed(kid="../../../../dev/null"),
    "a number as key's name": headed(kid=7),
    "header typ JWT": headed(typ="JWT"),
    "header without typ": headed(typ=None),
    "header jku": headed(jku="http://127.0.0.1:1/jwks.json"),
    "header x5u": headed(x5u="http://127.0.0.1:1/x"),
    "header crit": headed(crit=["b64"], b64=False),
    "refresh typ": changed(typ="refresh"),
    "no typ": changed(typ=None),
    "audience of others": changed(aud="others"),
    "audience list": changed(aud=["parley", "others"]),
    "no audience": changed(aud=None),
    "issuer of others": changed(iss="others"),
    "issuer list": changed(iss=["parley"]),
    "no issuer": changed(iss=None),
    "no subject": changed(sub=None),
    "subject a number": changed(sub=5),
    "subject no id": changed(sub="a.b"),
    "subject a wildcard": changed(sub=">"),
    "no session": changed(sid=None),
    "session no id": changed(sid="a b"),
    "no end": changed(exp=None),
    "end in the next age": changed(exp=10**18),
    "life of an hour": changed(seconds=3600),
    "end infinite": changed(exp=float("inf")),
    "end a text": changed(exp="tomorrow"),
    "issued in the future": lambda issuer, account: issuer.token(account.id, iat=int(time.time()) + 300),
    "no time of issue": changed(iat=None),
    "a refresh token": lambda _, account: account.refresh,
    "claims no object": lambda issuer, _: issuer.sign(issuer.header(), []),  # type: ignore[arg-type]
    "too long": changed(filler="x" * 8000),
    "dots": lambda *_: "..",
    "one word": lambda *_: "token",
    "a control character": lambda _, account: account.access[:40] + "\x00" + account.access[40:],
    "brackets": lambda *_: f"{encode(b'[' * 900)}.{encode(b'[' * 900)}.",
}


@pytest.mark.parametrize("kind", FORGERIES)
async def test_a_forged_token_is_refused_everywhere(ring: Ring, issuer: Issuer, frames: Open, kind: str) -> None:
    """A forged token closes a connect with 3500 and ends a handshake with 403; nothing of it is trusted."""
    forged = FORGERIES[kind](issuer, await guest(ring))
    one = await frames(ring)
    await one.send(one.numbered(connect={"token": forged}))
    assert await one.end() == (3500, "invalid token")
    if forged.isprintable():
        header = {"Authorization": f"Bearer {forged}"}
        assert await refused_handshake(ring, additional_headers=header) == (431 if len(forged) > 8000 else 403)


async def test_the_forger_can_also_do_it_right(ring: Ring, issuer: Issuer, frames: Open) -> None:
    """The tests' issuer is trusted, so that what is refused of it is refused for what was changed."""
    one = await frames(ring)
    await one.enter(issuer.token("honest", name="Honest"))
    assert await whoami(one) == "Honest"
    also = await frames(ring)
    await also.enter(headed()(issuer, await guest(ring)))


async def test_an_expired_token_ends_a_handshake(ring: Ring, issuer: Issuer) -> None:
    """In a handshake there is no error 109 to give: an expired token is refused like any other."""
    header = {"Authorization": f"Bearer {issuer.token('ann', -30)}"}
    assert await refused_handshake(ring, additional_headers=header) == 403


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "", "Bearer a b"])
async def test_another_authorization_is_refused(ring: Ring, header: str) -> None:
    """An Authorization header that holds no token of ours is refused, not overlooked."""
    assert await refused_handshake(ring, additional_headers={"Authorization": header}) == 403


# The end of a session.


@pytest.mark.parametrize("how", ["refresh token", "access token"])
async def test_logging_out_closes_every_socket_of_the_session(ring: Ring, frames: Open, how: str) -> None:
    """Within a second of logout all sockets of the session are closed with 4501, on both workers, and no others."""
    account = await registered(ring)
    mine: list[Frames] = []
    nodes: set[str] = set()
    while len(nodes) < 2:
        assert len(mine) < 200, "one worker gets every connection"
        mine.append(await frames(ring))
        nodes.add((await mine[-1].enter(account.access))["node"])
    phone = await frames(ring)
    await phone.enter((await sign_in(ring, "login", username=account.name, password="correct horse battery")).access)
    stranger = await frames(ring)
    await stranger.enter((await guest(ring)).access)

    started = time.monotonic()
    body = {"json": {"refresh_token": account.refresh}} if how == "refresh token" else {"headers": bearer(account)}
    assert (await http("POST", f"{ring.auth_url}/logout", **body)).status_code == 204
    endings = await asyncio.gather(*(one.end() for one in mine))
    assert set(endings) == {(4501, "session revoked")}
    assert time.monotonic() - started < 1
    for other in (phone, stranger):
        assert await other.call("echo", x=1) == {"x": 1}

    again = await frames(ring)
    await again.send(again.numbered(connect={"token": account.access}))
    assert (await again.end())[0] == 4501
    assert await refused_handshake(ring, additional_headers=bearer(account)) == 403
    answer = await http("POST", f"{ring.auth_url}/refresh", json={"refresh_token": account.refresh})
    assert answer.status_code == 401


async def test_an_sdk_client_does_not_come_back_after_logout(ring: Ring) -> None:
    """4501 is terminal: the SDK tells the application and does not reconnect."""
    ann = await Person(ring, await guest(ring)).connect()
    await http("POST", f"{ring.auth_url}/logout", headers=bearer(ann.account))
    await eventually(lambda: ann.disconnected, "the SDK gives up")
    assert ann.disconnected == [(4501, "session revoked")]
    await ann.leave()


async def test_a_ticket_of_a_session_that_ended_is_refused(ring: Ring) -> None:
    """Logging out also makes the tickets of the session worthless."""
    account = await guest(ring)
    made = await ticket(ring, account)
    await http("POST", f"{ring.auth_url}/logout", headers=bearer(account))
    assert await refused_handshake(ring, f"?ticket={made}") == 403


# HTTP.


async def test_only_pages_of_allowed_origins_may_read_answers(ring: Ring) -> None:
    """CORS headers are for the own page's origins alone, on every service, in preflights as well."""
    addresses = [(f"{ring.gateway_url}/config.json", "GET"), (f"{ring.auth_url}/guest", "POST")]
    for url, method in addresses:
        for origin, allowed in ((page_of(ring), True), ("http://evil.example", False), ("null", False)):
            asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "Content-Type"}
            answer = await http(method, url, headers={"Origin": origin}, json={"name": "Ann"})
            preflight = await http("OPTIONS", url, headers={"Origin": origin} | asked)
            for one in (answer, preflight):
                granted = one.headers.get("access-control-allow-origin")
                assert granted == (origin if allowed else None), (url, origin, one.request.method)


async def test_the_published_keys_are_public_ones(ring: Ring) -> None:
    """The key set has the key that signs, under the name that tokens bear, and nothing private."""
    account = await guest(ring)
    answer = await http("GET", f"http://127.0.0.1:{ring.ports['auth']}/.well-known/jwks.json")
    keys = answer.json()["keys"]
    assert json.loads(decoded(account.access, 0))["kid"] in {key["kid"] for key in keys}
    for key in keys:
        assert key["use"] == "sig"
        assert not key.keys() & {"d", "p", "q", "k"}
    assert "max-age" in answer.headers["cache-control"]
