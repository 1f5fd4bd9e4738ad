"""The rules of subscription tokens (pure): what a team's own backend lets one user do with one channel.

Signed like HMAC connection tokens (`tokens.py`), with `channel` and optionally `client` (protocol reference 1.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.tokens import BadToken, ExpiredToken, SignedClaims, expires_at, info_of, signed_claims


class Refused(Exception):
    """The token does not open the channel. The text is for our log and never holds the token."""


class Bad(Refused):
    """Not a token we accept (error 103)."""


class Expired(Refused):
    """Genuine, but it has ended (error 109)."""


class Foreign(Refused):
    """Genuine, but for another channel, user or client: somebody tries what is not theirs (ends with 3500)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to follow one channel."""

    expires_at: int
    """End of the subscription in seconds since the epoch; 0: never."""
    info: bytes
    """What others are told of the subscriber (chan_info): compact JSON, or nothing."""


def verify_subscription(
    token: str, channel: str, user: str, client: str, secrets: Sequence[bytes], issuer: str = "", audience: str = ""
) -> Grant:
    """Return what `token` grants to the connection `client` of `user` for `channel`; raise `Bad`, `Expired`, `Foreign`.

    For subscribe and sub_refresh alike: an expired token refreshes nothing. Without one of `secrets` every one is bad.
    """
    try:
        claims = signed_claims(token, secrets, issuer, audience, SignedClaims)
        grant = Grant(expires_at(claims), info_of(claims))
    except ExpiredToken as error:
        raise Expired(str(error)) from None
    except BadToken as error:
        raise Bad(str(error)) from None
    if not claims.channel:
        raise Bad("a connection token")
    if claims.channel != channel:
        raise Foreign("channel")
    if claims.sub != user:
        raise Foreign("subject")
    if claims.client and claims.client != client:
        raise Foreign("client")
    return grant
