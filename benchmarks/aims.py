"""What Parley aims at, and whether the figures that were measured reach it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.results import Result, Results

OURS = "Parley"
MOST_GROWN_MIB = 4


@dataclass(frozen=True)
class Aim:
    """A figure beside what it ought to be."""

    work: str
    aim: str
    measured: str
    reached: bool


def judged(results: Results) -> Iterator[Aim]:
    """Yield every aim whose row was measured."""
    for name, judge in JUDGES.items():
        row = results.rows.get(name)
        if row is not None and OURS not in row.failed:
            try:
                yield from judge(row)
            except LookupError as error:
                yield Aim(name, "", f"not measured: {error.args[0]}", False)


def _get(row: Result, label: str, key: str) -> float:
    value = row.median(label, key)
    if value is None:
        raise LookupError(f"{label} ({row.failed.get(label, key)})")
    return value


def _fan_out(members: str) -> Callable[[Result], Iterator[Aim]]:
    def judge(row: Result) -> Iterator[Aim]:
        for peer, least in (("Node ws", 10), ("Socket.IO", 10), ("nchan", 5)):
            times = _get(row, peer, "cpu_us") / _get(row, OURS, "cpu_us")
            work = f"room of {members}, deliveries per core-second"
            yield Aim(work, f"at least {least} x {peer}", f"{times:.1f} x", times >= least)

    return judge


def _small(row: Result) -> Iterator[Aim]:
    times = _get(row, "Node ws", "cpu_us") / _get(row, OURS, "cpu_us")
    yield Aim("1,000 rooms of 5, deliveries per core-second", "at least Node ws", f"{times:.2f} x", times >= 1)


def _steady(row: Result) -> Iterator[Aim]:
    for key, name in (("p50_ms", "p50"), ("p99_ms", "p99")):
        ours, theirs = _get(row, OURS, key), _get(row, "Node ws", key)
        told = f"{ours:.1f} ms, theirs {theirs:.1f} ms"
        yield Aim(f"10,000 deliveries/s, {name}", "no worse than Node ws", told, ours <= theirs)


def _single(row: Result) -> Iterator[Aim]:
    times = _get(row, OURS, "cpu_us") / _get(row, "C send(2)", "cpu_us")
    yield Aim("a write for each delivery, CPU", "at most 1.4 x C send(2)", f"{times:.2f} x", times <= 1.4)


def _offered(row: Result) -> Iterator[Aim]:
    cores, p99 = _get(row, OURS, "server_cores"), _get(row, OURS, "p99_ms")
    seen = _get(row, OURS, "seen_k")
    told = f"{cores:.2f} of a core at {seen / 1000:.2f} million/s"
    yield Aim("1.5 million deliveries/s offered, gateway", "at most 0.5 of a core", told, cores <= 0.5 and seen >= 1490)
    yield Aim("1.5 million deliveries/s offered, p99", "under 50 ms", f"{p99:.0f} ms", p99 < 50)


def _idle(row: Result) -> Iterator[Aim]:
    kib = _get(row, OURS, "idle_kib")
    yield Aim("idle connection", "at most 8 KiB", f"{kib:.1f} KiB", kib <= 8)
    ours, theirs = _get(row, OURS, "connects_per_core_s"), _get(row, "Socket.IO", "connects_per_core_s")
    told = f"{ours:,.0f}, theirs {theirs:,.0f}"
    yield Aim("connects per core-second", "at least Socket.IO's bare handshakes", told, ours >= theirs)


def _storm(row: Result) -> Iterator[Aim]:
    back, p99 = _get(row, OURS, "back_s"), _get(row, OURS, "others_p99_ms")
    yield Aim("10,000 cut off: all back and caught up", "within 30 s", f"{back:.1f} s", back <= 30)
    yield Aim("meanwhile, the others' p99", "at most 1 s", f"{p99 / 1000:.2f} s", p99 <= 1000)


def _slow(row: Result) -> Iterator[Aim]:
    without, beside = f"{OURS}, alone", f"{OURS}, beside one that never reads"
    share, grown = _get(row, beside, "delivered_percent"), _get(row, beside, "grown_mib")
    times = _get(row, beside, "p99_ms") / _get(row, without, "p99_ms")
    yield Aim("one client never reads: delivered to the others", "100 %", f"{share:.2f} %", share >= 100)
    yield Aim("one client never reads: the others' p99", "at most 1.1 x without it", f"{times:.2f} x", times <= 1.1)
    aim = f"at most {MOST_GROWN_MIB} MiB more"
    yield Aim("one client never reads: gateway's memory", aim, f"{grown:.1f} MiB", grown <= MOST_GROWN_MIB)


def _beside(row: Result) -> Iterator[Aim]:
    p99 = _get(row, OURS, "small_p99_ms")
    yield Aim("room of 5 beside a room of 5,000, its p99", "at most 15 ms", f"{p99:.1f} ms", p99 <= 15)


def _durable(row: Result) -> Iterator[Aim]:
    p99 = _get(row, "500/s offered", "ack_p99_ms")
    yield Aim("durable, 500/s: send to ack, p99", "at most 20 ms", f"{p99:.1f} ms", p99 <= 20)
    rate = _get(row, "saturated, 200 under way", "acknowledged_per_s")
    yield Aim("durable, one chat-service process", "at least 4,000/s", f"{rate:,.0f}/s", rate >= 4000)


JUDGES: dict[str, Callable[[Result], Iterator[Aim]]] = {
    "room": _fan_out("1,000"),
    "room5000": _fan_out("5,000"),
    "steady": _steady,
    "small": _small,
    "single": _single,
    "offered": _offered,
    "idle": _idle,
    "storm": _storm,
    "slow": _slow,
    "beside": _beside,
    "durable": _durable,
}
