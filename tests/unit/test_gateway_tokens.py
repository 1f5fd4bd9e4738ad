"""Access tokens at the gateway: the forged corpus is refused, honest ones are not."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.tokens import BadToken, ExpiredToken, Rules, UnknownKey, keys_of, verify

RULES = Rules("parley", "parley", 900, 5)
PRIVATE = ed25519.Ed25519PrivateKey.generate()
EC_PRIVATE = ec.generate_private_key(ec.SECP256R1())


def published(private: Any, kid: str, alg: str) -> dict[str, Any]:
    """The JWKS entry of a key."""
    algorithm = jwt.get_algorithm_by_name(alg)
    return {**json.loads(algorithm.to_jwk(private.public_key())), "kid": kid, "alg": alg, "use": "sig"}


KEYS = keys_of({"keys": [published(PRIVATE, "k1", "EdDSA"), published(EC_PRIVATE, "k2", "ES256")]})


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of an honest token, with changes; a change to None removes the claim."""
    now = int(time.time())
    honest = {
        "sub": "ann1",
        "sid": "s1",
        "name": "Ann",
        "aud": "parley",
        "iss": "parley",
        "typ": "access",
        "iat": now,
        "exp": now + 600,
    }
    return {key: value for key, value in (honest | changes).items() if value is not None}


def token(private: Any = PRIVATE, alg: str = "EdDSA", header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A signed token."""
    headers = {"typ": "at+jwt", "kid": "k1", **(header or {})}
    return jwt.encode(claims(**changes), private, alg, headers=headers)


def raw(header: dict[str, Any], body: dict[str, Any] | bytes, signature: bytes = b"") -> str:
    """A token put together by hand."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = (json.dumps(header).encode(), payload, signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_an_honest_token_names_its_user() -> None:
    """EdDSA and ES256 tokens of published keys are accepted."""
    identity = verify(token(), KEYS, RULES)
    assert (identity.user, identity.name, identity.session) == ("ann1", "Ann", "s1")
    assert verify(token(EC_PRIVATE, "ES256", {"kid": "k2"}), KEYS, RULES).user == "ann1"


PUBLIC_PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}


def hs256_with_the_public_key() -> str:
    """The classic confusion: our public key as an HMAC secret."""
    import hashlib
    import hmac

    unsigned = raw({**HEADER, "alg": "HS256"}, claims()).rpartition(".")[0]
    mac = hmac.new(PUBLIC_PEM, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


FORGED = {
    "empty": "",
    "not a token": "hello",
    "two parts": "a.b",
    "none": raw({**HEADER, "alg": "none"}, claims()),
    "None": raw({**HEADER, "alg": "None"}, claims()),
    "empty signature": raw(HEADER, claims()),
    "HS256 with the public key": hs256_with_the_public_key(),
    "signed by another": token(ed25519.Ed25519PrivateKey.generate()),
    "ES256 under the EdDSA key": token(EC_PRIVATE, "ES256"),
    "unknown crit": token(header={"crit": ["x"], "x": 1}),
    "jku": token(header={"jku": "http://127.0.0.1:1/keys"}),
    "jwk": token(header={"jwk": published(PRIVATE, "k1", "EdDSA")}),
    "x5u": token(header={"x5u": "http://127.0.0.1:1/cert"}),
    "header type JWT": token(header={"typ": "JWT"}),
    "refresh type": token(typ="refresh"),
    "no type": token(typ=None),
    "no session": token(sid=None),
    "no end": token(exp=None),
    "endless": token(exp=10**18),
    "a day long": token(exp=int(time.time()) + 86400),
    "future": token(iat=int(time.time()) + 3600, exp=int(time.time()) + 3900),
    "int subject": raw(HEADER, claims(sub=7)),
    "list audience": token(aud=["parley", "other"]),
    "other audience": token(aud="other"),
    "other issuer": token(iss="other"),
    "subject with a dot": token(sub="a.b"),
    "subject with a wildcard": token(sub="*"),
    "8 KB": token(name="n" * 8192),
    "deep": raw(HEADER, b"[" * 3000),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_forged_tokens_are_refused(forged: str) -> None:
    """Each token of the corpus raises BadToken, and nothing else."""
    with pytest.raises(BadToken):
        verify(forged, KEYS, RULES)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "a\r\nb", "", "k3", "x" * 2000])
def test_strange_key_ids_are_unknown_keys(kid: str) -> None:
    """A key id is compared with the published ones and used for nothing else."""
    with pytest.raises(UnknownKey):
        verify(token(header={"kid": kid}), KEYS, RULES)


def test_an_expired_token_is_told_apart() -> None:
    """Expired is its own answer, since SDKs fetch a new token on it."""
    past = int(time.time()) - 1000
    with pytest.raises(ExpiredToken):
        verify(token(iat=past, exp=past + 600), KEYS, RULES)


@pytest.mark.parametrize("document", [None, [], {}, {"keys": 1}, "x"])
def test_what_is_no_key_document_is_refused(document: Any) -> None:
    """A wrong document raises ValueError, so that the old keys are kept."""
    with pytest.raises(ValueError, match="JWKS"):
        keys_of(document)


def test_keys_of_other_kinds_are_left_out() -> None:
    """Only EdDSA and ES256 keys with an id count."""
    oct_key = {"kty": "oct", "k": "c2VjcmV0", "kid": "h", "alg": "HS256"}
    assert keys_of({"keys": [oct_key, {"kty": "?"}, published(PRIVATE, "k9", "EdDSA")]}).keys() == {"k9"}
