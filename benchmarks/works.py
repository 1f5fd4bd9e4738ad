"""The loads of the comparison, used by `make bench-quick` and by the rows of `make bench`.

Closed loops keep a server saturated; open loops offer a rate whatever comes back. Each message has 128 bytes.
"""

from benchmarks.generator import Work

SECONDS = 3.0


def room(members: int, seconds: float = SECONDS) -> Work:
    """One room, saturated: 32 messages under way, which a server may join into fewer writes if it can."""
    return Work(members, senders=min(8, members), flight=4, seconds=seconds, warm=_warm(seconds))


def one_at_a_time(members: int, seconds: float = SECONDS) -> Work:
    """One room with one message under way, so that each delivery is a write of its own."""
    return Work(members, senders=1, flight=1, seconds=seconds, warm=_warm(seconds))


def small_rooms(members: int, seconds: float = SECONDS) -> Work:
    """Rooms of five, as many as a room of `members` has members; in each one message is under way."""
    return Work(5 * members, rooms=members, senders=members, flight=1, seconds=seconds, warm=_warm(seconds))


def steady(members: int, seconds: float = 2 * SECONDS, deliveries: float = 10_000) -> Work:
    """A rate of deliveries in one room, said by some fifty members in turn."""
    senders = min(50, members)
    return Work(members, senders=senders, rate=deliveries / members, seconds=seconds, warm=_warm(seconds))


def _warm(seconds: float) -> float:
    """How long a load runs before it is measured."""
    return min(1.0, seconds)


UNJOINED = {"FLUSH_SECONDS": "0.000001"}
"""Settings of a gateway that lets nothing wait for others: what comes alone leaves alone, and at once."""
