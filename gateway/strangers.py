"""How many connections of one address have not said yet who they are, in this process.

Whoever shows no credential costs a place for `CONNECT_SECONDS`, and nothing but its address tells it from others. So
one address may have a part of the places at a time, and the rest are for everybody else.
"""

from collections import Counter


class Strangers:
    """The connections that have come and not entered, by address."""

    def __init__(self, most: int) -> None:
        """`most` of one address; 0: as many as there are places."""
        self._most = most
        self._here: Counter[str] = Counter()

    def full(self, address: str) -> bool:
        """Tell whether no more of `address` may come now."""
        return bool(self._most) and self._here[address] >= self._most

    def came(self, address: str) -> None:
        """Count one that has come."""
        self._here[address] += 1

    def gone(self, address: str) -> None:
        """Count one no more: it has said who it is, or has left."""
        self._here[address] -= 1
        if self._here[address] <= 0:
            del self._here[address]
