"""What the auth service announces under `auth.revoked.*`, and how to tell what it is about.

Three things end: a session, every session of an account that is banned, and every token of a key that is withdrawn. All
go one way, into the stream REVOCATIONS; the last token of the subject says which it is (`subjects.py`).
"""

import msgspec

from protocol import subjects
from protocol.names import is_id


class Revocation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body. Of `sid`, `bans` and `key` one is set; a session has its `user` as well.

    `at` and `at_ms` are one time since the epoch, in seconds and in milliseconds. `bans` counts how often the account
    was banned: a token that says less was signed before. `reason` is a word of the auth service.
    """

    at: int
    reason: str
    at_ms: int = 0
    sid: str = ""
    user: str = ""
    bans: int = 0
    key: str = ""

    @property
    def seconds(self) -> float:
        """When it ended, as exactly as is known."""
        return self.at_ms / 1000 if self.at_ms else float(self.at)

    @property
    def subject(self) -> str:
        """The subject under which it is announced; raise `BadName` when what it is about has no id."""
        if self.key:
            return subjects.revoked_key(self.key)
        return subjects.revoked_user(self.user) if self.bans else subjects.revoked(self.sid)


_decoder = msgspec.json.Decoder(Revocation)


def decode(subject: str, body: bytes) -> Revocation:
    """Return what is announced; raise `ValueError` when the body cannot be read or is not about the subject.

    Of a session the subject alone says enough, so its end counts whatever the body is.
    """
    token = subject.rpartition(".")[2]
    try:
        found = _decoder.decode(body)
        if found.subject == subject:
            return found
    except ValueError:
        pass
    if is_id(token):
        return Revocation(at=0, reason="", sid=token)
    raise ValueError("a revocation that cannot be read")
