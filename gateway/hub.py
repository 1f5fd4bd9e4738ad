"""Which connections of this process follow which channel, belong to which session, and to which user."""

from collections.abc import Iterator
from typing import Protocol

from gateway.publications import PublicationPush, Shared
from protocol.codes import DisconnectCode, UnsubscribeCode


class Follower(Protocol):
    """What the hub knows of a connection."""

    client: str

    @property
    def user(self) -> str:
        """The user the connection belongs to."""

    def deliver(self, push: Shared) -> None:
        """Put a push that others get too into the client's outbox."""

    def publish(self, channel: str, push: PublicationPush) -> None:
        """Put an event of `channel` into the client's outbox, in the form the client wants."""

    def wants_join_leave(self, channel: str) -> bool:
        """Whether the client asked for join and leave of `channel`."""

    def unsubscribe(self, channel: str, code: UnsubscribeCode) -> None:
        """End the client's subscription from our side."""

    def end(self, code: DisconnectCode) -> None:
        """End the connection."""


class Hub:
    """Membership of connections, in this process alone. Knows no NATS: callers act on what it reports."""

    def __init__(self) -> None:
        self._followers: dict[str, dict[str, Follower]] = {}
        self._sessions: dict[str, set[Follower]] = {}
        self._users: dict[str, set[Follower]] = {}
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
        self._sessions.setdefault(session, set()).add(follower)
        self._users.setdefault(follower.user, set()).add(follower)

    def leave(self, follower: Follower, session: str) -> None:
        """Forget a connection; its subscriptions must be removed first."""
        self._connections.pop(follower.client, None)
        for index, key in ((self._sessions, session), (self._users, follower.user)):
            found = index.get(key)
            if found is not None:
                found.discard(follower)
                if not found:
                    del index[key]

    def of_session(self, session: str) -> list[Follower]:
        """Return the connections of `session`."""
        return list(self._sessions.get(session, ()))

    def of_user(self, user: str) -> list[Follower]:
        """Return the connections of `user`."""
        return list(self._users.get(user, ()))

    def of_client(self, client: str) -> Follower | None:
        """Return the connection with that client id."""
        return self._connections.get(client)

    def channels(self) -> dict[str, int]:
        """Return each followed channel with the number of its followers here."""
        return {channel: len(followers) for channel, followers in self._followers.items()}

    def add(self, channel: str, follower: Follower) -> None:
        """Have `follower` receive what is broadcast on `channel`, from the next broadcast on."""
        self._followers.setdefault(channel, {})[follower.client] = follower

    def remove(self, channel: str, follower: Follower) -> None:
        """Stop that."""
        of_channel = self._followers.get(channel)
        if of_channel is not None:
            of_channel.pop(follower.client, None)
            if not of_channel:
                del self._followers[channel]

    def has_followers(self, channel: str) -> bool:
        """Tell whether anybody here follows `channel`."""
        return channel in self._followers

    def followers(self, channel: str) -> list[Follower]:
        """Return those who follow `channel`, as they are now."""
        return list(self._followers.get(channel, {}).values())

    def followers_of_user(self, channel: str, user: str) -> Iterator[Follower]:
        """Yield those followers of `channel` that belong to `user`."""
        return (follower for follower in self.followers(channel) if follower.user == user)

    def broadcast(self, channel: str, push: PublicationPush) -> int:
        """Put an event into every follower's outbox; return how many there are."""
        of_channel = self._followers.get(channel)
        if of_channel is None:
            return 0
        for follower in list(of_channel.values()):  # one that cannot take it may leave meanwhile
            follower.publish(channel, push)
        return len(of_channel)
