"""The storm: two gateways, 20 subscribers, 3,000 events, hundreds of broken connections, 1 % of live events lost.

What must hold is simple: in the end every subscriber has 1 .. 3000, each once and in order.
"""

import logging
from pathlib import Path

import pytest

from tests.soak.load import Load, Plan
from tests.soak.stage import Stage

SEED = 20_261_122
EVENTS = 3000
SUBSCRIBERS = 20
LOSS = 0.01

log = logging.getLogger(__name__)


@pytest.mark.timeout(600)
async def test_everybody_ends_with_every_event(tmp_path: Path) -> None:
    """In a room and in a general channel, in JSON and Protobuf, with workers killed and NATS cut: exactly 1 .. 3000."""
    log.warning("seed %d", SEED)
    plan = Plan(subscribers=SUBSCRIBERS, events=EVENTS, seed=SEED)
    with Stage(tmp_path, LOSS, SEED) as stage:
        async with Load(stage, plan, log.warning) as load:
            verdict = await load.round()
            # Read before anybody leaves.
            gaps, recovered = (
                stage.counted("parley_gaps_total", outcome="seen"),
                stage.counted("parley_recoveries_total"),
            )
            lost, live = sum(proxy.lost for proxy in stage.proxies), sum(proxy.live for proxy in stage.proxies)
    log.warning(
        "%d cuts, %d kills, %d of %d live events lost, %d gaps seen, %d recoveries, %d delivered",
        load.cuts, stage.kills, lost, live, gaps, recovered, load.delivered,
    )  # fmt: skip
    assert verdict.faults == []
    every = list(range(1, EVENTS + 1))
    assert len(verdict.room.seats) == SUBSCRIBERS
    for name, seat in verdict.room.seats.items():
        assert seat.numbers == every, name
    top = len(verdict.log)
    assert top >= EVENTS  # more, if a publication was not answered and another sent in its place
    for name, seat in verdict.channel.seats.items():
        got = [offset for stay in seat.stays for offset, _ in stay.events]
        assert got == list(range(1, top + 1)), name
    assert (load.repeated, load.missed) == (0, 0)
    # It was a storm, not a calm day.
    assert load.cuts >= 200
    assert sum(one.connects for one in load.subscribers) >= SUBSCRIBERS + load.cuts
    assert stage.kills >= 3
    assert sum(proxy.cuts for proxy in stage.proxies) >= 2
    assert lost >= 0.005 * live > 0
    assert gaps > 0
