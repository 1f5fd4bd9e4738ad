"""Access tokens: signed JSON Web Tokens, issued and checked (pure; the only importer of `jwt`).

The check is stricter than the library's, which accepts (tried with PyJWT 2.15.1) any `typ`, an `aud` list that holds
ours among others, and an `exp` in the next geological age.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import jwt

from auth_service.keyring import Key
from auth_service.settings import Settings
from protocol.names import is_id, new_id

ALGORITHM = "EdDSA"
HEADER_TYPE = "at+jwt"  # RFC 9068, 2.1
CLAIM_TYPE = "access"


class InvalidToken(Exception):
    """The token is not acceptable; the text is for our log and tests, never for the one who sent it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says of its bearer; `expires_at` in seconds since the epoch.

    `bans` is how often the account was banned before it was signed, `key` the id of the key that did.
    """

    user: str
    session: str
    name: str
    expires_at: int
    bans: int = 0
    key: str = ""


def issue(settings: Settings, key: Key, claims: Claims, now: float) -> str:
    """Return the token that says `claims`, signed with `key`."""
    payload = {
        "iss": settings.auth_issuer,
        "aud": settings.auth_audience,
        "typ": CLAIM_TYPE,
        "sub": claims.user,
        "sid": claims.session,
        "name": claims.name,
        "iat": int(now),
        "exp": claims.expires_at,
        "jti": new_id(),
    }
    if claims.bans:
        payload["bans"] = claims.bans
    headers = {"typ": HEADER_TYPE, "kid": key.kid}
    return jwt.encode(payload, key.private, algorithm=ALGORITHM, headers=headers)


def verify(settings: Settings, keys: tuple[Key, ...], token: str, now: float) -> Claims:
    """Return what `token` says; raise `InvalidToken` unless one of `keys` signed it with claims as we issue them."""
    if len(token) > settings.auth_token_bytes:
        raise InvalidToken("too long")
    key = _key_of(keys, token)
    try:
        # The signature is checked before any claim is read. Times and audience are checked below, by our own clock.
        jwt.decode(token, key.private.public_key(), algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise InvalidToken(type(error).__name__) from None
    payload = _json_object(token.split(".")[1])
    if payload.get("iss") != settings.auth_issuer or payload.get("aud") != settings.auth_audience:
        raise InvalidToken("issuer or audience")
    if payload.get("typ") != CLAIM_TYPE:
        raise InvalidToken("type")
    issued, expires = _whole(payload, "iat"), _whole(payload, "exp")
    skew = settings.auth_clock_skew_seconds
    if issued > now + skew or not 0 < expires - issued <= settings.auth_access_seconds or expires <= now - skew:
        raise InvalidToken("time")
    bans = _whole(payload, "bans") if "bans" in payload else 0
    return Claims(_id(payload, "sub"), _id(payload, "sid"), _text(payload, "name"), expires, bans, key.kid)


_SIGNATURE_ONLY: Any = {  # the library's own type of options does not allow a shared constant
    "verify_signature": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
}


def _key_of(keys: tuple[Key, ...], token: str) -> Key:
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("shape")
    header = _json_object(parts[0])
    # Exactly the header we write: no crit, jwk, jku, x5u or anything else that asks for another way to verify.
    if set(header) != {"alg", "kid", "typ"} or header["alg"] != ALGORITHM or header["typ"] != HEADER_TYPE:
        raise InvalidToken("header")
    for key in keys:
        if key.kid == header["kid"]:
            return key
    raise InvalidToken("kid")


def _json_object(part: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        found = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse)
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidToken("encoding") from None
    if not isinstance(found, dict):
        raise InvalidToken("not an object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _refuse(_: str) -> None:
    raise ValueError("not JSON")


def _whole(payload: dict[str, Any], claim: str) -> int:
    found = payload.get(claim)
    if type(found) is not int:  # neither a fraction nor a truth value
        raise InvalidToken(claim)
    return found


def _text(payload: dict[str, Any], claim: str) -> str:
    found = payload.get(claim)
    if not isinstance(found, str):
        raise InvalidToken(claim)
    return found


def _id(payload: dict[str, Any], claim: str) -> str:
    found = _text(payload, claim)
    if not is_id(found):
        raise InvalidToken(claim)
    return found
