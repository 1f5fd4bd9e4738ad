"""The judge of histories: it accepts what is right, and finds every kind of wrong that is planted into it."""

import copy
import random
from collections.abc import Callable

import pytest

from tests.bench.stays import (
    DUPLICATED,
    FORGED,
    LEAKED,
    LOST,
    REFUSED,
    REORDERED,
    Event,
    History,
    Send,
    Stay,
    judge,
    totals,
)

SEEDS = range(200)


def right(chance: random.Random) -> History:
    """Return a history as a faultless server makes it: senders, and readers that come, go and recover."""
    history = History(readers={f"reader {number}": [] for number in range(3)})
    clock = 0.0
    for number in range(chance.randint(12, 30)):
        clock += 1
        send = Send(f"m{number}", asked=clock)
        if chance.random() < 0.9:
            send.acknowledged = clock + 0.5
        history.sends.append(send)
        if send.acknowledged or chance.random() < 0.5:
            send.offset = len(history.log) + 1 if chance.random() < 0.7 else 0
            history.log.append((len(history.log) + 1, send.key))
        for stays in history.readers.values():
            _act(chance, stays, history.log)
    for stays in history.readers.values():
        if stays and stays[-1].present:
            stays[-1].events += history.log[stays[-1].position :]
    return history


def _act(chance: random.Random, stays: list[Stay], log: list[Event]) -> None:
    """Have one reader do something or nothing."""
    present = bool(stays) and stays[-1].present
    step = chance.random()
    if present:
        stays[-1].events += log[stays[-1].position :]
        stays[-1].present = step > 0.2
    elif step < 0.3:
        stays.append(Stay(len(log)))
    elif step < 0.6 and stays:
        stays.append(Stay(stays[-1].position, recovering=True, recovered=True))


def a_stay(chance: random.Random, history: History, least: int) -> Stay | None:
    """Return some stay with at least that many events."""
    found = [stay for stays in history.readers.values() for stay in stays if len(stay.events) >= least]
    return chance.choice(found) if found else None


def drop(chance: random.Random, history: History) -> str | None:
    """A reader does not get one event, not the last."""
    stay = a_stay(chance, history, 2)
    if stay is None:
        return None
    stay.events.pop(chance.randrange(len(stay.events) - 1))
    return LOST


def drop_last(chance: random.Random, history: History) -> str | None:
    """A reader that is still there does not get the last event."""
    found = [stays[-1] for stays in history.readers.values() if stays and stays[-1].present and stays[-1].events]
    if not found:
        return None
    chance.choice(found).events.pop()
    return LOST


def duplicate(chance: random.Random, history: History) -> str | None:
    """A reader gets one event again."""
    stay = a_stay(chance, history, 1)
    if stay is None:
        return None
    at = chance.randrange(len(stay.events))
    stay.events.insert(chance.randint(at, len(stay.events)), stay.events[at])
    return DUPLICATED


def swap(chance: random.Random, history: History) -> str | None:
    """A reader gets two events in the wrong order."""
    stay = a_stay(chance, history, 2)
    if stay is None:
        return None
    first, second = sorted(chance.sample(range(len(stay.events)), 2))
    stay.events[first], stay.events[second] = stay.events[second], stay.events[first]
    return REORDERED


def leak(chance: random.Random, history: History) -> str | None:
    """A reader gets an event while it is not subscribed."""
    history.strays["reader 1"] = [chance.choice(history.log)]
    return LEAKED


def forge(chance: random.Random, history: History) -> str | None:
    """A reader gets an event of another channel in place of one of this."""
    stay = a_stay(chance, history, 1)
    if stay is None:
        return None
    at = chance.randrange(len(stay.events))
    stay.events[at] = (stay.events[at][0], "of another channel")
    return FORGED


def lose_acknowledged(chance: random.Random, history: History) -> str | None:
    """The log lacks an acknowledged message, and its offset went to another."""
    send = chance.choice([send for send in history.sends if send.acknowledged])
    history.log = [(offset, "" if key == send.key else key) for offset, key in history.log]
    return LOST


def store_twice(chance: random.Random, history: History) -> str | None:
    """The log has a message a second time."""
    history.log.append((len(history.log) + 1, chance.choice(history.log)[1]))
    return DUPLICATED


def store_out_of_order(chance: random.Random, history: History) -> str | None:
    """A message stands in the log before one that was acknowledged earlier."""
    places = [send.key for send in history.sends if send.acknowledged]
    first, second = sorted(chance.sample(range(len(places)), 2))
    swapped = {places[first]: places[second], places[second]: places[first]}
    history.log = [(offset, swapped.get(key, key)) for offset, key in history.log]
    history.sends = [Send(send.key, send.asked, send.acknowledged) for send in history.sends]
    return REORDERED


def hole_in_recovery(chance: random.Random, history: History) -> str | None:
    """A recovery that was said to be whole begins too late."""
    found = [(s, at) for s in history.readers.values() for at in range(1, len(s)) if s[at].recovered and s[at].events]
    if not found:
        return None
    stays, at = chance.choice(found)
    stays[at].start = stays[at].events.pop(0)[0]
    return LOST


def refuse(chance: random.Random, history: History) -> str | None:
    """A recovery is refused."""
    found = [stay for stays in history.readers.values() for stay in stays if stay.recovering]
    if not found:
        return None
    chance.choice(found).recovered = False
    return REFUSED


Mutation = Callable[[random.Random, History], str | None]
MUTATIONS: list[Mutation] = [
    drop,
    drop_last,
    duplicate,
    swap,
    leak,
    forge,
    lose_acknowledged,
    store_twice,
    store_out_of_order,
    hole_in_recovery,
    refuse,
]


def test_what_is_right_is_accepted() -> None:
    """No fault is found in histories of a faultless server."""
    for seed in SEEDS:
        assert judge(right(random.Random(seed))) == [], seed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_what_is_wrong_is_found(mutation: Mutation) -> None:
    """Each kind of wrong, planted anywhere, is found, and called what it is."""
    planted = 0
    for seed in SEEDS:
        chance = random.Random(seed)
        history = copy.deepcopy(right(chance))
        kind = mutation(chance, history)
        if kind is not None:
            planted += 1
            assert kind in totals(judge(history)), seed
    assert planted > len(SEEDS) // 4


def test_a_refused_recovery_is_no_fault_where_too_much_was_missed() -> None:
    """A reader that was told so, and starts at the top, has lost nothing without knowing."""
    history = History(log=[(1, "a"), (2, "b")], readers={"one": [Stay(0, present=False)]})
    history.readers["one"].append(Stay(2, recovering=True))
    assert judge(history, every_recovery=False) == []
    assert totals(judge(history)) == {REFUSED: 1}
