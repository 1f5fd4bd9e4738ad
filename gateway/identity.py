"""Who a connection belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user. `expires_at` is the end of the credential, in seconds since the epoch."""

    user: str
    name: str
    session: str
    expires_at: int
