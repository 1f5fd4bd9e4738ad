"""Who a connection belongs to."""

from dataclasses import dataclass

from protocol.names import is_id


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user, or with `user` "" an anonymous one.

    `session` is empty for users of another system, whose backend signs HMAC tokens: their ids are free-form, and may by
    chance or intent equal those of our own users. Whatever concerns accounts and rooms asks `is_native` first.
    """

    user: str
    name: str
    session: str
    expires_at: int
    """End of the credential in seconds since the epoch; 0: never."""
    info: bytes = b""
    """What the credential says of the user to others (conn_info): compact JSON, or nothing."""
    channels: tuple[str, ...] = ()
    """Channels the credential has the server subscribe the user to."""
    channel_infos: tuple[bytes, ...] = ()
    """For each of `channels` its chan_info: compact JSON, or nothing."""
    bans: int = 0
    """How often the account had been banned when the credential was made."""
    key: str = ""
    """Id of the key of the auth service that signed the credential; empty for HMAC tokens."""

    @property
    def is_native(self) -> bool:
        """Whether this is a session of an account of our own auth service."""
        return is_id(self.session) and is_id(self.user)

    def channel_info(self, channel: str) -> bytes:
        """Return the chan_info that the credential gives for `channel`; empty when there is none."""
        return dict(zip(self.channels, self.channel_infos, strict=False)).get(channel, b"")


ANONYMOUS = Identity("", "", "", 0)
"""A client that showed no credential, where that is allowed."""
