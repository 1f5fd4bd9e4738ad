"""The rules of connection tokens (pure): bytes and keys in, identity or a refusal out.

Two families, told apart by `alg` alone. Access tokens of our auth service: EdDSA or ES256 against published keys; RFC
8725 (algorithms fixed by us, type checked) and RFC 9068 (`at+jwt`). PyJWT verifies the signature; what the token says
is judged here, for PyJWT alone accepts a lifetime of any length and any `typ` (tried with 2.15.1). HMAC tokens of a
team's own backend: HS256, HS384 or HS512 against one secret of our settings, with the claims of protocol reference 1.3.
"""

import base64
import binascii
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import jwt
import msgspec

from gateway.identity import Identity
from protocol.names import is_channel, is_id, namespace_of

ALGORITHMS = ["EdDSA", "ES256"]
HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"]
MAX_TOKEN_BYTES = 4096
MAX_NAME = 64
MAX_FOREIGN_USER = 255
LAST_SECOND = 253_402_300_799
"""End of the year 9999: a later time is a mistake, such as milliseconds."""
_HMAC_BLOCK = 64
_REFUSED_HEADERS = {"jku", "jwk", "x5u", "x5c", "crit"}
_JWS = jwt.PyJWS()


class BadToken(Exception):
    """The token is not one we accept. The text is for our log and never holds the token."""


class ExpiredToken(BadToken):
    """The token was fine and has ended."""


class UnknownKey(BadToken):
    """The token names a key that is not published (now)."""

    def __init__(self, key: str) -> None:
        super().__init__("no such key")
        self.key = key


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must say. Times in seconds. The first four are for access tokens, the others for HMAC tokens."""

    issuer: str
    audience: str
    max_seconds: int
    leeway: int
    hmac_secret: bytes = b""
    """Empty: no HMAC token is accepted."""
    hmac_issuer: str = ""
    """Expected `iss`; empty: not looked at."""
    hmac_audience: str = ""
    """Expected in `aud`; empty: not looked at."""
    hmac_previous: bytes = b""
    """The secret before `hmac_secret`, which counts as well; empty: none."""
    anonymous: bool = False
    """Whether an HMAC token may be for the user without an id."""


class About(msgspec.Struct):
    """What a token may say of its user to others."""

    info: msgspec.Raw = msgspec.Raw()
    b64info: str | None = None


class SignedClaims(About):
    """Claims that every HMAC token may have. What is not named here is ignored."""

    sub: str = ""
    exp: int | float | None = None
    expire_at: int | float | None = None
    nbf: int | float | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    channel: str | None = None
    client: str | None = None


class _AccessClaims(msgspec.Struct):
    """What every access token must say, and in which types; what is not named here is ignored."""

    sub: str
    sid: str
    aud: str
    iss: str
    typ: str
    iat: int | float
    exp: int | float
    nbf: int | float = 0
    name: Any = ""
    bans: int = 0


_access = msgspec.json.Decoder(_AccessClaims)


Claims = TypeVar("Claims", bound=SignedClaims)


class _ConnectClaims(SignedClaims):
    channels: list[str] | None = None
    subs: dict[str, About | None] | None = None


def verify(token: str, keys: Mapping[str, jwt.PyJWK], rules: Rules) -> Identity:
    """Return who `token` speaks for; raise `BadToken`, or its kinds `ExpiredToken` and `UnknownKey`."""
    header = _header(token)
    if header["alg"] in HMAC_ALGORITHMS:
        secrets = (rules.hmac_secret, rules.hmac_previous)
        claims = signed_claims(token, secrets, rules.hmac_issuer, rules.hmac_audience, _ConnectClaims)
        return _foreign_identity(claims, rules)
    key = keys.get(name := _key_id(header))
    if key is None:
        raise UnknownKey(name)
    try:
        access = _access.decode(_JWS.decode(token, key, algorithms=[key.algorithm_name]))
    except (jwt.PyJWTError, msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    return _identity(access, sys.intern(name), rules, time.time())  # each connection keeps it: one text for all


def _header(token: str) -> dict[str, Any]:
    """Return the header, not verified yet, once its algorithm is one we know."""
    if len(token) > MAX_TOKEN_BYTES:
        raise BadToken("too long")
    header = _header_in(token.partition(".")[0])
    if header.get("alg") not in ALGORITHMS + HMAC_ALGORITHMS:
        raise BadToken("algorithm")
    if header.keys() & _REFUSED_HEADERS:
        raise BadToken("header")  # keys come from our settings only (RFC 8725, 3.10)
    return header


@lru_cache(maxsize=64)
def _header_in(segment: str) -> dict[str, Any]:
    """Return what the first part of a token says; all tokens of one key have the same. Must not be changed."""
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    if not isinstance(header, dict):
        raise BadToken("header")
    return header


def _key_id(header: dict[str, Any]) -> str:
    if str(header.get("typ", "")).lower() != "at+jwt":
        raise BadToken("type")
    return str(header.get("kid", ""))


def _identity(claims: _AccessClaims, key: str, rules: Rules, now: float) -> Identity:
    """Judge the claims of an access token whose signature is good (RFC 7519, 4.1; RFC 9068, 2.2)."""
    if claims.iss != rules.issuer:
        raise BadToken("issuer")
    if claims.aud != rules.audience:
        raise BadToken("audience")
    if claims.typ != "access":
        raise BadToken("type")
    if not (is_id(claims.sub) and is_id(claims.sid)):
        raise BadToken("subject")
    if not math.isfinite(claims.exp) or claims.exp - claims.iat > rules.max_seconds:
        raise BadToken("lifetime")
    if max(claims.iat, claims.nbf) > now + rules.leeway:
        raise BadToken("not valid yet")
    if claims.exp <= now - rules.leeway:
        raise ExpiredToken("expired")
    name = claims.name
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        name = claims.sub
    return Identity(claims.sub, name, claims.sid, int(claims.exp), bans=claims.bans, key=key)


def _foreign_identity(claims: _ConnectClaims, rules: Rules) -> Identity:
    """Return the user of another system that its backend vouches for."""
    if claims.channel is not None:
        raise BadToken("a subscription token")
    if len(claims.sub) > MAX_FOREIGN_USER or not (claims.sub or rules.anonymous):
        raise BadToken("subject")
    subs: Mapping[str, About | None] = claims.subs or dict.fromkeys(claims.channels or ())
    for channel in subs:
        # Rooms and what concerns their members belong to accounts of our own, whom no such token can speak for.
        if not is_channel(channel) or namespace_of(channel) in ("room", "user"):
            raise BadToken("channels")
    return Identity(
        user=claims.sub,
        name=claims.sub,
        session="",
        expires_at=expires_at(claims),
        info=info_of(claims),
        channels=tuple(subs),
        channel_infos=tuple(info_of(about) if about else b"" for about in subs.values()),
    )


def signed_claims(token: str, secrets: Sequence[bytes], issuer: str, audience: str, kind: type[Claims]) -> Claims:
    """Return the claims of an HMAC token that is genuine and has not ended; raise `BadToken` or `ExpiredToken`.

    Each of `secrets` counts that is not empty; an empty `issuer` or `audience` is not looked at. Unlike access tokens
    these have no leeway, as in the reference: they end when they say.
    """
    if _header(token)["alg"] not in HMAC_ALGORITHMS or not any(secrets):
        raise BadToken("algorithm")
    try:
        claims = msgspec.json.decode(_payload(token, secrets), type=kind)
    except (jwt.PyJWTError, msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    if issuer and claims.iss != issuer:
        raise BadToken("issuer")
    if audience and audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud or []):
        raise BadToken("audience")
    now = time.time()
    if (claims.exp is not None and claims.exp <= now) or 0 < expires_at(claims) <= now:
        raise ExpiredToken("expired")
    if claims.nbf is not None and claims.nbf > now:
        raise ExpiredToken("not valid yet")  # as the reference: the SDK fetches another and tries again
    return claims


def _payload(token: str, secrets: Sequence[bytes]) -> bytes:
    """Return what `token` carries, signed with one of `secrets`; raise `jwt.PyJWTError`."""
    for secret in filter(None, secrets):
        # HMAC itself fills a short key up with zeros (RFC 2104, 2). Done here, PyJWT does not warn at every token.
        key = secret.ljust(_HMAC_BLOCK, b"\0")
        try:
            payload: bytes = _JWS.decode(token, key, algorithms=HMAC_ALGORITHMS)
            return payload
        except jwt.InvalidSignatureError:
            continue
    raise jwt.InvalidSignatureError


def expires_at(claims: SignedClaims) -> int:
    """Return when what the token allows ends, in seconds since the epoch: `expire_at`, else `exp`; 0: never."""
    end = claims.exp if claims.expire_at is None else claims.expire_at
    if end is None:
        return 0
    if not 0 <= end <= LAST_SECOND:
        raise BadToken("times")
    return int(end)


def info_of(about: About) -> bytes:
    """Return `b64info`, else `info`, as compact JSON (a frame of JSON holds no line breaks); empty without either."""
    try:
        text = base64.b64decode(about.b64info, validate=True) if about.b64info else bytes(about.info)
        if text in (b"", b"null"):
            return b""
        msgspec.json.decode(text)
        return msgspec.json.format(text, indent=-1)
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        raise BadToken("info") from None


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
