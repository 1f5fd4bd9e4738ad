"""What a message of the canary says: which run wrote it, its number there, and when. Pure."""

import json
from dataclasses import dataclass

LONGEST = 200
"""Longer texts are not ours, and are not looked at."""


@dataclass(frozen=True, slots=True)
class Note:
    """One numbered message. `sent` in milliseconds since the epoch, for who reads the room; latency is not from it."""

    run: str
    number: int
    sent: int

    @property
    def id(self) -> str:
        """The message's id: the same on every retry, and of no other message."""
        return f"{self.run}-{self.number}"

    def text(self) -> str:
        """Return the text of the message: the same on every retry, as the protocol wants."""
        return json.dumps({"run": self.run, "number": self.number, "sent": self.sent})

    @classmethod
    def read(cls, text: object) -> "Note | None":
        """Return what `text` says; None when it is not of a canary."""
        if not isinstance(text, str) or len(text) > LONGEST:
            return None
        try:
            run, number, sent = (json.loads(text)[field] for field in ("run", "number", "sent"))
        except (ValueError, KeyError, TypeError):
            return None
        if not (isinstance(run, str) and type(number) is int and type(sent) is int):
            return None
        return cls(run, number, sent)
