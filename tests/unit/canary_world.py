"""What the canary's ledger is tried on: a room with honest servers, and the count of what it found there."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from canary.ledger import Ledger, Verdict

LOST_AFTER = 30.0
BROKEN = (Verdict.DUPLICATED, Verdict.REORDERED, Verdict.LATE)


@dataclass
class Counts:
    """What a ledger found in all."""

    lost: list[tuple[str, int]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def broken(self) -> dict[str, int]:
        """How often each promise was broken; empty when none was."""
        found = {verdict.value: self.verdicts.count(verdict) for verdict in BROKEN}
        return {name: count for name, count in (found | {"lost": len(self.lost)}).items() if count}


class World:
    """A room with honest servers, as one sender and its receivers see it; `time` moves by hand."""

    def __init__(self, receivers: int = 2, capacity: int = 1000) -> None:
        self.names = [f"receiver{number}" for number in range(receivers)]
        self.ledger = Ledger(self.names, LOST_AFTER, capacity)
        self.log: list[int] = []
        self.given = dict.fromkeys(self.names, 0)
        self.there = dict.fromkeys(self.names, True)
        self.open = 0
        self.time = 0.0
        self.counts = Counts()
        for name in self.names:
            self.ledger.attend(name, True, self.time)

    def send(self, answered: bool = True) -> None:
        """Send the next number, or the one that was not answered once more."""
        if not self.open:
            self.open = self.ledger.offer(self.time)
            self.log.append(self.open)
        if answered:
            self.ledger.acknowledge(self.open, self.time)
            self.open = 0
        else:
            self.ledger.fail()

    def push(self, name: str, numbers: Iterable[int]) -> None:
        """Give numbers to a receiver, whatever they are."""
        for number in numbers:
            self.counts.verdicts.append(self.ledger.receive(name, number, self.time).verdict)

    def deliver(self, name: str) -> None:
        """Give a receiver that is there what it has not got."""
        if self.there[name]:
            self.push(name, self.missing(name))
            self.given[name] = len(self.log)

    def missing(self, name: str) -> list[int]:
        """Return what the log has beyond what the receiver was given."""
        return self.log[self.given[name] :]

    def go(self, name: str) -> None:
        """Have a receiver lose its connection."""
        self.there[name] = False
        self.ledger.attend(name, False, self.time)

    def come(self, name: str, recovered: bool) -> None:
        """Have a receiver come back; what it missed is given, or it is told to read it, which takes a while."""
        self.there[name] = True
        if recovered:
            self.ledger.attend(name, True, self.time)
            self.deliver(name)
            return
        to_read = self.missing(name)
        self.given[name] = len(self.log)
        self.wait(2 * LOST_AFTER)
        self.ledger.reload(name, to_read)
        self.ledger.attend(name, True, self.time)

    def wait(self, seconds: float) -> None:
        """Let time pass, at the end of which every connection lives and a send is answered, and judge."""
        self.time += seconds
        for name in self.names:
            self.ledger.prove(name, self.time)
        self.send()
        for name in self.names:
            self.deliver(name)
        self.counts.lost += self.ledger.judge()

    def end(self) -> dict[str, int]:
        """Let everything arrive that is due, wait until all is judged; return what is broken."""
        for name in self.names:
            self.deliver(name)
        self.wait(2 * LOST_AFTER)
        return self.counts.broken
