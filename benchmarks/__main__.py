"""`python -m benchmarks`: measure Parley and its peers side by side and print ratios. `--quick` for a few of them."""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import servers
from benchmarks.generator import Failed, Figures, Load, Work, resident_kib
from benchmarks.servers import Server

ROOM = Work(1000, senders=8, flight=4, seconds=3)
UNCOALESCED = Work(1000, senders=1, flight=1, seconds=3)
SMALL_ROOMS = Work(5000, rooms=1000, senders=1000, flight=1, seconds=3)
STEADY = Work(1000, senders=50, rate=10, seconds=6)


def say(text: str) -> None:
    """Tell the person who waits."""
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def interleaved(
    what: str, work: Work, among: list[Server], repeats: int, note: Callable[[str, Server, Figures], None]
) -> dict[str, list[Figures]]:
    """Run `work` on each server in turn, `repeats` times over."""
    found: dict[str, list[Figures]] = {server.name: [] for server in among}
    for round_ in range(repeats):
        for server in among:
            figures = Load(server.template, work).measure(server.groups)
            if figures.delivered == 0:
                raise Failed(f"{server.name} delivered nothing under {what}")
            found[server.name].append(figures)
            note(f"{what} {round_ + 1}/{repeats}", server, figures)
    return found


def note(what: str, server: Server, figures: Figures) -> None:
    """Tell of one run."""
    brokers = f", brokers {figures.cpu['broker'] / figures.seconds:.2f} cores" if server.brokers else ""
    say(
        f"{what}: {server.name}: {figures.rate / 1000:.1f} k deliveries/s, {figures.cpu_us:.2f} us each, p50 "
        f"{figures.p50_ms:.2f} ms, p99 {figures.p99_ms:.2f} ms, generator {figures.generator_cores:.2f} cores{brokers}"
    )


def idle(server: Server, connections: int) -> tuple[float, float]:
    """Return KiB per idle connection, and connections per second of the server's processor time."""
    template = server.idle or server.template
    small = Work(min(200, connections), rooms=200)
    Load(template, small, hold=True).release()  # what the first ones make once
    before, used = resident_kib(server.pids), _cpu(server)
    load = Load(template, Work(connections, rooms=max(1, connections // 5)), hold=True)
    kib = (resident_kib(server.pids) - before) / connections
    per_second = connections / (_cpu(server) - used)
    load.release()
    say(
        f"idle: {server.name}: {kib:.1f} KiB per connection, {per_second:.0f} connects per core-second, "
        f"{connections / load.greeted_seconds:.0f}/s seen"
    )
    return kib, per_second


def _cpu(server: Server) -> float:
    from benchmarks.generator import cpu_seconds

    return cpu_seconds(server.pids)


def quick(repeats: int, connections: int) -> dict[str, float]:
    """Measure the nine ratios; takes under four minutes with the defaults."""
    with (
        tempfile.TemporaryDirectory() as name,
        servers.together(
            servers.parley(Path(name) / "parley"),
            servers.node_ws(),
            servers.socket_io(),
            servers.send(),
            servers.nchan(Path(name) / "nchan"),
        ) as running,
    ):
        ours, ws, sio = running["parley"], running["node ws"], running["Socket.IO"]
        # First: what a load has left behind would be taken for that of the idle.
        idle_ours, connects_ours = idle(ours, connections)
        idle_sio, connects_sio = idle(sio, connections)
        room = interleaved("room of 1000", ROOM, [ours, ws, running["nchan"]], repeats, note)
        small = interleaved("1000 rooms of 5", SMALL_ROOMS, [ours, ws], repeats, note)
        alone = interleaved("one at a time", UNCOALESCED, [ours, running["C send(2)"]], repeats, note)
        steady = interleaved("10 k deliveries/s", STEADY, [ours, ws], repeats, note)
    cost = {
        (work, server): median(one.cpu_us for one in figures)
        for work, found in (("room", room), ("small", small), ("alone", alone))
        for server, figures in found.items()
    }
    p50 = {server: median(one.p50_ms for one in figures) for server, figures in steady.items()}
    p99 = {server: median(one.p99_ms for one in figures) for server, figures in steady.items()}
    return {
        "fanout_vs_node_ws": cost["room", "node ws"] / cost["room", "parley"],
        "fanout_vs_nchan": cost["room", "nchan"] / cost["room", "parley"],
        "small_rooms_vs_node_ws": cost["small", "node ws"] / cost["small", "parley"],
        "p50_vs_node_ws": p50["parley"] / p50["node ws"],
        "p99_vs_node_ws": p99["parley"] / p99["node ws"],
        "cpu_vs_c_send": cost["alone", "parley"] / cost["alone", "C send(2)"],
        "idle_kib": idle_ours,
        "idle_kib_vs_socketio": idle_ours / idle_sio,
        "connects_vs_socketio": connects_ours / connects_sio,
    }


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each load on each server, interleaved")
    parser.add_argument("--connections", type=int, default=4000, help="idle connections to measure memory with")
    arguments = parser.parse_args()
    try:
        ratios = quick(arguments.repeats, arguments.connections)
    except Failed as error:
        say(str(error))
        raise SystemExit(1) from None
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
