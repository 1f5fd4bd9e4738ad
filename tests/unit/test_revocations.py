"""What gateways make of announcements: which credentials count no more, and which connections end by them."""

from typing import cast

import msgspec
import pytest

from chassis.bus import Bus, Message
from gateway.hub import Follower, Hub
from gateway.identity import Identity
from gateway.keys import Keys
from gateway.postman import Postman
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from protocol import codes, revocations, subjects
from protocol.codes import DisconnectCode
from protocol.revocations import Revocation

SETTINGS = GatewaySettings()


class Somebody:
    """A connection that remembers how it ended."""

    def __init__(self, client: str, identity: Identity) -> None:
        self.client = client
        self.user = identity.user
        self.identity = identity
        self.ended: list[DisconnectCode] = []

    def end(self, code: DisconnectCode) -> None:
        """End."""
        self.ended.append(code)


class Gateway:
    """What of a gateway hears announcements, with connections."""

    def __init__(self, *identities: Identity) -> None:
        self.hub = Hub(Postman(), 0.0)
        self.keys = Keys(SETTINGS)
        self.revocations = Revocations(cast(Bus, None), SETTINGS, self.hub, self.keys)
        self.people = [Somebody(f"c{number}", one) for number, one in enumerate(identities)]
        for one in self.people:
            self.hub.enter(cast(Follower, one), one.identity.session)

    def hear(self, *announced: Revocation) -> list[list[DisconnectCode]]:
        """Take announcements; return how each connection ended, since it was made."""
        for one in announced:
            self.revocations._received(Message(one.subject, {}, msgspec.json.encode(one)))
        return [one.ended for one in self.people]


def native(user: str, session: str, bans: int = 0, key: str = "k1") -> Identity:
    """Return an account's identity."""
    return Identity(user, user.title(), session, 2_000_000_000, bans=bans, key=key)


def banned(user: str, bans: int = 1) -> Revocation:
    """Return the announcement of a ban."""
    return Revocation(at=1, at_ms=1500, reason="banned", user=user, bans=bans)


ENDED = Revocation(at=1, at_ms=1500, reason="logout", sid="s1", user="ann")
WITHDRAWN = Revocation(at=1, at_ms=1500, reason="key_compromised", key="k1")


def test_the_end_of_a_session_ends_its_connections() -> None:
    """Those of that session and no others, and its tokens count no more."""
    gateway = Gateway(native("ann", "s1"), native("ann", "s2"), native("ben", "s3"))
    assert gateway.hear(ENDED) == [[codes.SESSION_REVOKED], [], []]
    assert gateway.revocations.ended(native("ann", "s1")) is codes.SESSION_REVOKED
    assert gateway.revocations.ended(native("ann", "s2")) is None


def test_a_ban_ends_what_was_there_before_it() -> None:
    """All sessions of the account; told again after it was lifted, it spares what came since. A second does not."""
    gateway = Gateway(native("ann", "s1"), native("ann", "s2"), native("ann", "s4", bans=1), native("ben", "s3"))
    out = [codes.ACCOUNT_BANNED]
    assert gateway.hear(banned("ann")) == [out, out, [], []]
    assert gateway.revocations.ended(native("ann", "s9")) is codes.ACCOUNT_BANNED
    assert gateway.revocations.ended(native("ann", "s9", bans=1)) is None
    assert gateway.hear(banned("ann"))[2] == []
    assert gateway.hear(banned("ann", 2))[2] == out
    assert gateway.hear(banned("ann", 1))[3] == []
    assert gateway.revocations.ended(native("ann", "s9", bans=1)) is codes.ACCOUNT_BANNED


def test_a_user_of_another_system_is_not_the_account_of_that_name() -> None:
    """Ids of HMAC tokens are free: one that equals a banned account's is not banned."""
    foreign = Identity("ann", "ann", "", 0)
    gateway = Gateway(foreign)
    assert gateway.hear(banned("ann")) == [[]]
    assert gateway.revocations.ended(foreign) is None


def test_a_withdrawn_key_ends_what_it_let_in() -> None:
    """Of that key alone; who is banned or logged out as well is told that, for another token would not help."""
    gateway = Gateway(native("ann", "s1"), native("ben", "s2", key="k2"), Identity("cyd", "cyd", "", 0))
    assert gateway.hear(WITHDRAWN) == [[codes.KEY_WITHDRAWN], [], []]
    assert gateway.keys.is_withdrawn("k1")
    assert gateway.revocations.ended(native("dan", "s7")) is codes.KEY_WITHDRAWN
    gateway.hear(banned("dan"), ENDED)
    assert gateway.revocations.ended(native("dan", "s7")) is codes.ACCOUNT_BANNED
    assert gateway.revocations.ended(native("ann", "s1")) is codes.SESSION_REVOKED


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"{}", b'{"at":1,"reason":"x","sid":"other"}', b"[" * 2000])
def test_a_body_that_cannot_be_read(body: bytes) -> None:
    """A session ends all the same, for the subject names it; a ban or a key without a body is not understood."""
    assert revocations.decode(subjects.revoked("s1"), body).sid == "s1"
    for subject in (subjects.revoked_user("ann"), subjects.revoked_key("k1"), "auth.revoked.a-b"):
        with pytest.raises(ValueError, match="cannot be read"):
            revocations.decode(subject, body)


def test_times_are_exact_when_they_are_told() -> None:
    """An auth service of before tells whole seconds."""
    assert ENDED.seconds == 1.5
    assert Revocation(at=1, reason="logout", sid="s1").seconds == 1.0
