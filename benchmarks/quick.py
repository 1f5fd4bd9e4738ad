"""The nine ratios of `make bench-quick`."""

from functools import partial

from benchmarks.generator import Failed
from benchmarks.ours import parley, single
from benchmarks.session import Measured, Session, fan_out, idle, medians, prepare, say
from benchmarks.works import SECONDS, UNJOINED, one_at_a_time, room, small_rooms, steady

OURS, UNJOINED_OURS = "Parley", "Parley, each delivery a write"
WS, SIO, NCHAN, SEND = "Node ws", "Socket.IO", "nchan", "C send(2)"
MOST_JOINED = 1.05
"""Deliveries per frame above which a run does not count as one write for each delivery."""


def ratios(repeats: int, connections: int, members: int, seconds: float = SECONDS) -> dict[str, float]:
    """Return deliveries and connects as ours / theirs, and latency, processor time and memory likewise.

    `connections` are idle; `members` are in the large room; each load lasts `seconds`. Raises `Failed` when a server is
    missing or breaks.
    """
    prepare(max(connections, 5 * members))
    with Session(repeats) as session:
        session.start(OURS, parley)
        session.start(UNJOINED_OURS, partial(parley, UNJOINED))
        for name in (WS, SIO, NCHAN, SEND):
            session.start(name)
        _complete(session)
        rest = _idle(session, connections)
        session.warm(min(1, seconds))
        work = {
            "room": (room(members, seconds), (OURS, WS, NCHAN)),
            "small": (small_rooms(members, seconds), (OURS, WS)),
            "alone": (one_at_a_time(members, seconds), (UNJOINED_OURS, SEND)),
            "steady": (steady(members, 2 * seconds), (OURS, WS)),
        }
        found: dict[str, dict[str, Measured]] = {}
        for what, (load, names) in work.items():
            runs = session.interleaved(what, (single if what == "alone" else fan_out)(load), names)
            _complete(session)
            found[what] = {name: medians(figures) for name, figures in runs.items()}
    _check_alone(found["alone"])
    return {
        "fanout_vs_node_ws": _times("cpu_us", found["room"], WS, OURS),
        "fanout_vs_nchan": _times("cpu_us", found["room"], NCHAN, OURS),
        "small_rooms_vs_node_ws": _times("cpu_us", found["small"], WS, OURS),
        "p50_vs_node_ws": _times("p50_ms", found["steady"], OURS, WS),
        "p99_vs_node_ws": _times("p99_ms", found["steady"], OURS, WS),
        "cpu_vs_c_send": _times("cpu_us", found["alone"], UNJOINED_OURS, SEND),
        "idle_kib": rest[OURS]["idle_kib"],
        "idle_kib_vs_socketio": _times("idle_kib", rest, OURS, SIO),
        "connects_vs_socketio": _times("connects_per_core_s", rest, OURS, SIO),
    }


def _idle(session: Session, connections: int) -> dict[str, Measured]:
    """Measure at rest, before any load has left memory behind; once, since a second time finds it used already."""
    session.repeats, repeats = 1, session.repeats
    runs = session.interleaved("idle", partial(idle, connections=connections), (OURS, SIO))
    session.repeats = repeats
    _complete(session)
    return {name: medians(figures) for name, figures in runs.items()}


def _complete(session: Session) -> None:
    for name, why in session.failed.items():
        raise Failed(f"{name}: {why}")


def _check_alone(found: dict[str, Measured]) -> None:
    if (joined := found[UNJOINED_OURS]["per_frame"]) > MOST_JOINED:
        say(f"{UNJOINED_OURS}: {joined:.2f} deliveries a write: cpu_vs_c_send is not of single writes")


def _times(key: str, found: dict[str, Measured], above: str, below: str) -> float:
    return found[above][key] / found[below][key]
