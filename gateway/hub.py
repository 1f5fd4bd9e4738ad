"""Which connections of this process follow which channel, belong to which session, and to which user."""

from collections.abc import Iterator
from typing import Protocol

from gateway.audience import Audience
from gateway.identity import Identity
from gateway.outbox import Outbox
from gateway.postman import Postman
from gateway.publications import PublicationPush, Shared
from protocol.codes import DisconnectCode, UnsubscribeCode
from protocol.frames import Codec


class Follower(Protocol):
    """What the hub knows of a connection."""

    client: str
    codec: Codec
    outbox: Outbox

    @property
    def open(self) -> bool:
        """Whether anything may still be sent to it."""

    @property
    def user(self) -> str:
        """The user the connection belongs to."""

    @property
    def identity(self) -> Identity | None:
        """Who it belongs to, and by which credential."""

    @property
    def age(self) -> float:
        """Seconds since the connection was made."""

    def deliver(self, push: Shared) -> None:
        """Put a push that others get too into the client's outbox."""

    def wants_join_leave(self, channel: str) -> bool:
        """Whether the client asked for join and leave of `channel`."""

    def unsubscribe(self, channel: str, code: UnsubscribeCode) -> None:
        """End the client's subscription from our side."""

    def end(self, code: DisconnectCode) -> None:
        """End the connection."""


class Index:
    """Connections by something that most of them have alone: a set is made only where there are several."""

    def __init__(self) -> None:
        self._found: dict[str, Follower | set[Follower]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, key: str, follower: Follower) -> None:
        """Put a connection under `key`."""
        found = self._found.get(key)
        if found is None:
            self._found[key] = follower
        elif isinstance(found, set):
            found.add(follower)
        elif found is not follower:
            self._found[key] = {found, follower}

    def discard(self, key: str, follower: Follower) -> None:
        """Take it away again, if it is there."""
        found = self._found.get(key)
        if isinstance(found, set):
            found.discard(follower)
            if not found:
                del self._found[key]
        elif found is follower:
            del self._found[key]

    def crowds(self, more_than: int) -> list[str]:
        """Return the keys under which more connections are than that."""
        return [key for key, found in self._found.items() if (len(found) if isinstance(found, set) else 1) > more_than]

    def of(self, key: str) -> list[Follower]:
        """Return the connections under `key`."""
        found = self._found.get(key)
        if found is None:
            return []
        return list(found) if isinstance(found, set) else [found]


class Hub:
    """Membership of connections, in this process alone. Knows no NATS: callers act on what it reports."""

    def __init__(self, postman: Postman, longest_rest: float) -> None:
        """`longest_rest` is for each channel's `Audience`."""
        self._postman = postman
        self._longest_rest = longest_rest
        self._audiences: dict[str, Audience] = {}
        self._sessions = Index()
        self._users = Index()
        self._connections: dict[str, Follower] = {}

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def users(self) -> int:
        """How many users have connections here."""
        return len(self._users)

    def enter(self, follower: Follower, session: str) -> None:
        """Register a connection that has proved who it is."""
        self._connections[follower.client] = follower
        self._sessions.add(session, follower)
        self._users.add(follower.user, follower)

    def leave(self, follower: Follower, session: str) -> None:
        """Forget a connection; its subscriptions must be removed first."""
        self._connections.pop(follower.client, None)
        self._sessions.discard(session, follower)
        self._users.discard(follower.user, follower)

    def of_session(self, session: str) -> list[Follower]:
        """Return the connections of `session`."""
        return self._sessions.of(session)

    def of_user(self, user: str) -> list[Follower]:
        """Return the connections of `user`."""
        return self._users.of(user)

    def let_in_by(self, key: str) -> list[Follower]:
        """Return the connections whose credential was signed by the key with that id."""
        there = self._connections.values()
        return [one for one in there if one.identity is not None and one.identity.key == key]

    def count_of_user(self, user: str) -> int:
        """Return how many connections `user` has here."""
        return len(self._users.of(user))

    def crowds(self, more_than: int) -> list[str]:
        """Return the users with more connections here than that."""
        return self._users.crowds(more_than)

    def of_client(self, client: str) -> Follower | None:
        """Return the connection with that client id."""
        return self._connections.get(client)

    def channels(self) -> dict[str, int]:
        """Return each followed channel with the number of its followers here."""
        return {channel: len(audience) for channel, audience in self._audiences.items()}

    def add(self, channel: str, follower: Follower, *, wants_delta: bool = False, has_previous: bool = False) -> None:
        """Have `follower` receive what is broadcast on `channel`, from the next broadcast on."""
        audience = self._audiences.get(channel)
        if audience is None:
            audience = self._audiences[channel] = Audience(self._postman, self._longest_rest)
        audience.add(follower.outbox, wants_delta=wants_delta, has_previous=has_previous)

    def remove(self, channel: str, follower: Follower) -> None:
        """Stop that; what was broadcast before is written first."""
        audience = self._audiences.get(channel)
        if audience is not None:
            audience.remove(follower.outbox)
            if not audience:
                del self._audiences[channel]

    def has_followers(self, channel: str) -> bool:
        """Tell whether anybody here follows `channel`."""
        return channel in self._audiences

    def followers(self, channel: str) -> list[Follower]:
        """Return those who follow `channel`, as they are now."""
        return list(self._audiences.get(channel, ()))

    def followers_of_user(self, channel: str, user: str) -> Iterator[Follower]:
        """Yield those followers of `channel` that belong to `user`."""
        return (follower for follower in self.followers(channel) if follower.user == user)

    def broadcast(self, channel: str, push: PublicationPush) -> int:
        """Have every follower get an event, soon and in order; return how many there are."""
        audience = self._audiences.get(channel)
        if audience is None:
            return 0
        audience.broadcast(push)
        return len(audience)
