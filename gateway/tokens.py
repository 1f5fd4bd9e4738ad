"""The rules of access tokens (pure): bytes and keys in, identity or a refusal out.

RFC 8725 (algorithms fixed by us, type checked) and RFC 9068 (`at+jwt`). PyJWT alone accepts a lifetime of any length,
an `aud` list with others in it and any `typ` (tried with 2.15.1), so those are checked here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from gateway.identity import Identity
from protocol.names import is_id

ALGORITHMS = ["EdDSA", "ES256"]
MAX_TOKEN_BYTES = 4096
MAX_NAME = 64
_REQUIRED = ["sub", "sid", "aud", "iss", "typ", "iat", "exp"]


class BadToken(Exception):
    """The token is not one we accept. The text is for our log and never holds the token."""


class ExpiredToken(BadToken):
    """The token was fine and has ended."""


class UnknownKey(BadToken):
    """The token names a key that is not published (now)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must say. Times in seconds."""

    issuer: str
    audience: str
    max_seconds: int
    leeway: int


def verify(token: str, keys: Mapping[str, jwt.PyJWK], rules: Rules) -> Identity:
    """Return who `token` speaks for; raise `BadToken`, or its kinds `ExpiredToken` and `UnknownKey`."""
    if len(token) > MAX_TOKEN_BYTES:
        raise BadToken("too long")
    key = keys.get(_key_id(token))
    if key is None:
        raise UnknownKey("no such key")
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=rules.leeway,
            options={"require": _REQUIRED, "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise ExpiredToken("expired") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    return _identity(claims, rules)


def _key_id(token: str) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    if header.get("alg") not in ALGORITHMS:
        raise BadToken("algorithm")
    if str(header.get("typ", "")).lower() != "at+jwt":
        raise BadToken("type")
    if header.keys() & {"jku", "jwk", "x5u", "x5c", "crit"}:
        raise BadToken("header")  # keys come from our settings only (RFC 8725, 3.10)
    return str(header.get("kid", ""))


def _identity(claims: dict[str, Any], rules: Rules) -> Identity:
    user, session, name = claims["sub"], claims["sid"], claims.get("name", "")
    issued, expires = claims["iat"], claims["exp"]
    if claims["typ"] != "access":
        raise BadToken("type")
    if not (isinstance(user, str) and is_id(user) and isinstance(session, str) and is_id(session)):
        raise BadToken("subject")
    if not (isinstance(issued, int | float) and isinstance(expires, int | float)):
        raise BadToken("times")
    if not math.isfinite(expires) or expires - issued > rules.max_seconds:
        raise BadToken("lifetime")
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        name = user
    return Identity(user, name, session, int(expires))


def keys_of(document: Any) -> dict[str, jwt.PyJWK]:
    """Return key id to key for the acceptable keys of a JWKS document; raise `ValueError` when it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWKS document")
    found = {}
    for entry in document["keys"]:
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, TypeError, AttributeError):
            continue  # a kind of key we do not use
        if key.algorithm_name in ALGORITHMS and key.key_id:
            found[key.key_id] = key
    return found
