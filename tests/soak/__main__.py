"""`python -m tests.soak`: put load and faults on a ring for as long as asked, and say what came of it."""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.bench.stays import DUPLICATED, FORGED, LEAKED, LOST, REFUSED, REORDERED, totals
from tests.soak.load import Load, Plan
from tests.soak.stage import Stage

TABLE_SECONDS = 10
COLUMNS = ("time", "sent", "acked", "delivered", "recovered", "gaps", "repeated", "missed", "cuts", "kills", "rounds")
LEGEND = """\
  sent, acked  messages asked for, and acknowledged, into a room and a general channel
  delivered    events handed to subscribers      recovered  of these, in answer to a recovery
  gaps         gaps repaired from the log        repeated, missed  events out of turn at a subscriber: must stay 0
  cuts, kills  connections broken, gateway workers killed with signal 9"""


def main() -> int:
    """Return 0 when nothing was lost, duplicated or reordered, else 1."""
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    plan = Plan(
        subscribers=options.subscribers,
        senders=options.senders,
        events=options.events,
        cut_every=options.cut_every,
        kill_every=options.kill_every,
        cut_nats_every=options.cut_nats_every,
        seed=seed,
    )
    print(f"soak: {options.minutes:g} min, seed {seed}, {plan}, loss {options.loss:g}\n{LEGEND}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as at Ctrl-C: with the ring stopped
    found: Counter[str] = Counter()
    load: list[Load] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="parley-soak-") as directory,
            Stage(Path(directory), options.loss, seed, options.gateways) as stage,
        ):
            asyncio.run(_soak(stage, plan, options.minutes * 60, found, load))
    except KeyboardInterrupt:
        print("soak: ended early; the round that ran is not judged")
    acknowledged = load[0].acknowledged if load else 0
    words = ", ".join(f"{found[kind]} {kind}" for kind in (LOST, DUPLICATED, REORDERED, LEAKED, FORGED, REFUSED))
    print(f"soak: {acknowledged} acknowledged, {words}, seed {seed}")
    return 1 if found.total() or not acknowledged else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Put load and faults on a ring of its own: gateways that lose live messages, broken connections, "
        "killed workers. Every round is judged whole. `make soak` passes SOAK='--minutes 60'.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, default=5, help="how long to send; the round that runs is ended and judged")
    add("--subscribers", type=int, default=20, help="subscribers, half of them in Protobuf")
    add("--senders", type=int, default=4, help="senders into the room, and as many into the general channel")
    add("--loss", type=float, default=0.01, help="share of live messages lost between NATS and a gateway")
    add("--gateways", type=int, default=2, help="gateways, of two workers each, beside the ring's own")
    add("--events", type=int, default=3000, help="messages of one round in each of the two channels")
    add("--cut-every", type=int, default=15, help="messages from one broken connection to the next; 0: none")
    add("--kill-every", type=int, default=1500, help="messages from one killed worker to the next; 0: none")
    add("--cut-nats-every", type=int, default=2000, help="messages from one loss of NATS to the next; 0: none")
    add("--seed", type=int, help="of the random choices; default another each time")
    return parser.parse_args()


async def _soak(stage: Stage, plan: Plan, seconds: float, found: Counter[str], out: list[Load]) -> None:
    until = time.monotonic() + seconds
    async with Load(stage, plan, lambda _: None) as load:
        out.append(load)
        table = asyncio.create_task(_table(load))
        try:
            while time.monotonic() < until and not found:
                verdict = await load.round(until)
                found.update(totals(verdict.faults))
                for fault in verdict.faults[:20]:
                    print(f"  {fault}", flush=True)
        except* AssertionError as stuck:  # somebody never got what is due
            found[LOST] += load.missed or 1
            for error in stuck.exceptions:
                print(f"  {error}", flush=True)
        finally:
            table.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await table
            await _row(load, time.monotonic() - until + seconds)
    if found:
        print(stage.ring.logs())


async def _table(load: Load) -> None:
    """Print a line every ten seconds, for ever."""
    print("".join(f"{name:>11}" for name in COLUMNS), flush=True)
    started = time.monotonic()
    for line in range(1, 1_000_000_000):
        await asyncio.sleep(started + line * TABLE_SECONDS - time.monotonic())
        await _row(load, time.monotonic() - started)


async def _row(load: Load, seconds: float) -> None:
    stage = load.stage
    try:
        recovered = await asyncio.to_thread(stage.counted, "parley_recovered_publications_total")
        gaps = await asyncio.to_thread(stage.counted, "parley_gaps_total", outcome="repaired")
    except OSError:
        recovered = gaps = -1  # a worker was killed while it answered
    values = (
        f"{int(seconds) // 60}:{int(seconds) % 60:02}",
        load.sent,
        load.acknowledged,
        load.delivered,
        recovered,
        gaps,
        load.repeated,
        load.missed,
        load.cuts,
        stage.kills,
        load.rounds,
    )
    print("".join(f"{value:>11}" for value in values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
