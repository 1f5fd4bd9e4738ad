"""Forged access tokens over HTTP: one refusal for all of them, and nothing is fetched on their behalf."""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.service.auth.running import Clock, Running, bearer, refused


class Forger:
    """Makes tokens for a session that exists, with the service's own key or without it."""

    def __init__(self, auth: Running, honest: str, url: str) -> None:
        key = auth.parts.keyring.current()
        assert key is not None
        self.key = key
        self.url = url
        self.honest = honest
        self.claims: dict[str, Any] = jwt.decode(honest, options={"verify_signature": False})
        self.header: dict[str, Any] = {"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid}

    def signed(self, header: dict[str, Any] | None = None, payload: bytes | None = None, **claims: Any) -> str:
        """A token with a good signature of the service's key over whatever it says."""
        body = payload or json.dumps({**self.claims, **claims}).encode()
        message = f"{part(json.dumps({**self.header, **(header or {})}).encode())}.{part(body)}"
        return f"{message}.{part(self.key.private.sign(message.encode()))}"

    def by_stranger(self, **header: Any) -> str:
        """A token that a stranger's key signed."""
        message = f"{part(json.dumps({**self.header, **header}).encode())}.{part(json.dumps(self.claims).encode())}"
        return f"{message}.{part(Ed25519PrivateKey.generate().sign(message.encode()))}"

    def with_public_key_as_secret(self) -> str:
        """HS256 with the published key as the shared secret, in the two forms a library might take it."""
        message = (
            f"{part(json.dumps({**self.header, 'alg': 'HS256'}).encode())}.{part(json.dumps(self.claims).encode())}"
        )
        secret = self.key.private.public_key().public_bytes_raw()
        return f"{message}.{part(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"


def part(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def twice(forger: Forger) -> str:
    """Claims with `sub` twice."""
    return forger.signed(payload=json.dumps(forger.claims).encode()[:-1] + b',"sub":"somebodyelse"}')


def changed(forger: Forger, index: int, letter: str) -> str:
    """The honest token with one part's last letter changed."""
    parts = forger.honest.split(".")
    parts[index] = parts[index][:-2] + letter + parts[index][-1]
    return ".".join(parts)


JWK = {"kty": "OKP", "crv": "Ed25519", "x": part(b"x" * 32)}
FORGERIES: dict[str, Callable[[Forger], str]] = {
    "empty": lambda f: "",
    "no token": lambda f: "token",
    "alg none": lambda f: f"{part(json.dumps({**f.header, 'alg': 'none'}).encode())}.{f.honest.split('.')[1]}.",
    "alg None signed": lambda f: f.signed({"alg": "None"}),
    "HS256 with the public key": lambda f: f.with_public_key_as_secret(),
    "ES256": lambda f: f.signed({"alg": "ES256"}),
    "RS256": lambda f: f.signed({"alg": "RS256"}),
    "alg missing": lambda f: f.signed({"alg": None}),
    "empty signature": lambda f: f.honest.rsplit(".", 1)[0] + ".",
    "zero signature": lambda f: f.honest.rsplit(".", 1)[0] + "." + part(bytes(64)),
    "changed header": lambda f: changed(f, 0, "x"),
    "changed claims": lambda f: changed(f, 1, "x"),
    "changed signature": lambda f: f.honest.rsplit(".", 1)[0] + "." + part(b"y" * 64),
    "four parts": lambda f: f.honest + ".x",
    "stranger's key": lambda f: f.by_stranger(),
    "stranger's key with jwk": lambda f: f.by_stranger(jwk=JWK),
    "stranger's key with jku": lambda f: f.by_stranger(jku=f.url),
    "stranger's key with x5u": lambda f: f.by_stranger(x5u=f.url),
    "kid is a URL": lambda f: f.by_stranger(kid=f.url),
    "kid is a path": lambda f: f.by_stranger(kid="../../../../dev/null"),
    "kid is SQL": lambda f: f.by_stranger(kid="' UNION SELECT 'x' --"),
    "kid with line ends": lambda f: f.by_stranger(kid="x\r\nSet-Cookie: a=b"),
    "kid of 1 MB": lambda f: f.by_stranger(kid="k" * 1_000_000),
    "kid is a number": lambda f: f.by_stranger(kid=5),
    "kid missing": lambda f: f.signed({"kid": None}),
    "crit": lambda f: f.signed({"crit": ["exp"]}),
    "unknown crit": lambda f: f.signed({"crit": ["x"], "x": True}),
    "b64 false": lambda f: f.signed({"b64": False, "crit": ["b64"]}),
    "jku with our key": lambda f: f.signed({"jku": f.url}),
    "jwk with our key": lambda f: f.signed({"jwk": JWK}),
    "x5u with our key": lambda f: f.signed({"x5u": f.url}),
    "typ JWT": lambda f: f.signed({"typ": "JWT"}),
    "typ of a refresh token": lambda f: f.signed({"typ": "rt+jwt"}),
    "claim typ refresh": lambda f: f.signed(typ="refresh"),
    "claim typ missing": lambda f: f.signed(typ=None),
    "other audience": lambda f: f.signed(aud="another"),
    "audience list": lambda f: f.signed(aud=["parley"]),
    "audience list with another": lambda f: f.signed(aud=["parley", "another"]),
    "other issuer": lambda f: f.signed(iss="https://evil.test"),
    "issuer list": lambda f: f.signed(iss=["parley"]),
    "expired": lambda f: f.signed(iat=f.claims["iat"] - 700, exp=f.claims["iat"] - 100),
    "issued in the future": lambda f: f.signed(iat=f.claims["iat"] + 100, exp=f.claims["iat"] + 700),
    "lives for ever": lambda f: f.signed(exp=10**18),
    "lives too long": lambda f: f.signed(exp=f.claims["iat"] + 601),
    "exp before iat": lambda f: f.signed(exp=f.claims["iat"] - 1),
    "exp is a float": lambda f: f.signed(exp=float(f.claims["exp"]) - 0.5),
    "exp is 1e308": lambda f: f.signed(exp=1e308),
    "exp is text": lambda f: f.signed(exp=str(f.claims["exp"])),
    "exp is true": lambda f: f.signed(exp=True, iat=0),
    "exp missing": lambda f: f.signed(exp=None),
    "iat missing": lambda f: f.signed(iat=None),
    "sub is a number": lambda f: f.signed(sub=5),
    "sub is no id": lambda f: f.signed(sub="a.*.>"),
    "sub of another": lambda f: f.signed(sub="somebodyelse"),
    "sid is a list": lambda f: f.signed(sid=[f.claims["sid"]]),
    "sid unknown": lambda f: f.signed(sid="nosuchsession"),
    "name is a number": lambda f: f.signed(name=5),
    "a claim twice": twice,
    "8 KB": lambda f: f.signed(more="x" * 8192),
    "NaN": lambda f: f.signed(payload=b'{"exp":NaN}'),
    "deep": lambda f: f.signed(payload=b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"),
    "claims are a list": lambda f: f.signed(payload=b"[]"),
    "claims are no JSON": lambda f: f.signed(payload=b"sub"),
}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port where somebody waits for calls."""
    with ExitStack() as stack:
        waiting = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        waiting.setblocking(False)
        yield waiting


async def test_every_forgery_is_refused_alike(auth: Running, clock: Clock, listener: socket.socket) -> None:
    """Each forged token gets the same 401 on every endpoint that takes one, and nobody is called."""
    tokens = await auth.guest()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys.json"
    forger = Forger(auth, tokens["access_token"], url)
    assert (await auth.me(forger.signed())).status_code == 200  # the forger's craft is good enough
    answers = set()
    for name, forge in FORGERIES.items():
        token = forge(forger)
        for method, path in (("GET", "/auth/me"), ("POST", "/auth/tickets"), ("POST", "/auth/logout")):
            answer = await auth.client.request(method, path, headers=bearer(token) or {"Authorization": "Bearer "})
            assert answer.status_code == 401, name
            refused(answer, 401, "invalid_token")
            assert answer.headers["www-authenticate"] == "Bearer"
            answers.add(answer.content)
    assert len(answers) == 1
    assert (await auth.me(tokens["access_token"])).status_code == 200  # nothing was logged out either
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "bearer", "Bearer a b", "Token x"])
async def test_other_authorization(auth: Running, header: str) -> None:
    """An Authorization header that is no bearer token is refused."""
    answer = await auth.client.get("/auth/me", headers={"Authorization": header} if header else {})
    refused(answer, 401, "invalid_token")


async def test_refresh_token_is_no_access_token(auth: Running) -> None:
    """A refresh token opens nothing, and an access token refreshes nothing."""
    tokens = await auth.guest()
    refused(await auth.me(tokens["refresh_token"]), 401, "invalid_token")
    refused(await auth.refresh(tokens["access_token"][:256]), 401, "invalid_token")
