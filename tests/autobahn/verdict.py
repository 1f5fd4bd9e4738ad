"""What is right: every case OK, but for a written list (pure)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_NEGOTIATED = ["12.*", "13.*"]
"""Cases of permessage-deflate, which the gateway never negotiates (decompression bombs)."""

CASES = 301
"""Cases of all other groups: framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, limits, chopping."""

OTHERWISE = {
    "6.4.1": "NON-STRICT",  # a text that is not UTF-8 is refused when it is whole, not at the fragment that spoils it:
    "6.4.2": "NON-STRICT",  # RFC 6455 asks for no more, and with 64 KiB at most there is nothing to gain sooner
    "6.4.3": "NON-STRICT",
    "6.4.4": "NON-STRICT",
    "7.1.6": "INFORMATIONAL",  # the suite judges neither: a close behind a large message,
    "7.13.1": "INFORMATIONAL",  # and close codes that the RFC leaves open
    "7.13.2": "INFORMATIONAL",
}
"""The written list: case to the only other answer that is right."""

_GOOD_CLOSES = ("OK", "INFORMATIONAL")


@dataclass(frozen=True)
class Verdict:
    """What came of a run."""

    counted: Mapping[str, int]
    """Behaviour (OK, NON-STRICT ...) to cases."""
    wrong: list[str]
    """What is not as it has to be, a line each; empty when the run passed."""


def judge(results: Mapping[str, Mapping[str, Any]], cases: int = CASES) -> Verdict:
    """Judge the suite's index; fewer results than `cases` are wrong too, for what did not run shows nothing."""
    wrong = []
    for case, found in results.items():
        expected = {"OK", OTHERWISE.get(case, "OK")}
        if found["behavior"] not in expected or found["behaviorClose"] not in _GOOD_CLOSES:
            code = found.get("remoteCloseCode")
            wrong.append(f"{case}: {found['behavior']}, closing {found['behaviorClose']}, close code {code}")
    if len(results) < cases:
        wrong.append(f"only {len(results)} of {cases} cases ran")
    return Verdict(Counter(found["behavior"] for found in results.values()), wrong)
