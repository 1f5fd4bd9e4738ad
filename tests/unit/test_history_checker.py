"""The judge of histories must find each kind of fault, or its silence in the tests of bad days means nothing."""

from copy import deepcopy
from dataclasses import replace

import pytest

from tests.bench.history import Acknowledged, Event, History, Received, Recovery
from tests.bench.stays import DUPLICATED, FORGED, LEAKED, LOST, REFUSED, REORDERED


def event(offset: int) -> Event:
    """Return the event at `offset`: the first two create and join, all others are messages."""
    user = {"id": f"user{offset % 3}", "name": "Name"}
    if offset <= 2:
        return {"type": ("created", "joined")[offset - 1], "offset": offset, "user": user}
    return {
        "type": "message",
        "offset": offset,
        "number": offset - 2,
        "id": f"id{offset}",
        "user": user,
        "text": f"text {offset}",
    }


@pytest.fixture
def history() -> History:
    """A history in which every promise is kept: 20 events, two receivers, one of whom left at offset 12."""
    log = [event(offset) for offset in range(1, 21)]
    return History(
        log=log,
        acknowledged=[Acknowledged(f"id{offset}", offset, offset, offset + 0.5) for offset in range(3, 21)],
        received=[
            Received("Ann", 2, deepcopy(log[2:]), recoveries=[Recovery(7, True, deepcopy(log[7:10]))], user="user2"),
            Received("Ben", 5, deepcopy(log[5:12]), upto=12),
        ],
        offered=frozenset(f"id{offset}" for offset in range(3, 25)),
        pages={size: deepcopy(log) for size in (1, 7, 100)},
    )


def only_fault(history: History, words: str, kind: str = "") -> None:
    """Assert that `words` are in a line of what is found, of that kind."""
    faults = history.check()
    assert any(words in str(fault) and kind in fault.kind for fault in faults), faults


def test_a_good_history_has_no_faults(history: History) -> None:
    """Where every promise is kept nothing is found."""
    assert history.check() == []


def test_an_empty_history_has_no_faults() -> None:
    """Nothing said, nothing lost."""
    assert History(log=[]).check() == []


def test_a_lost_acknowledged_message_is_found(history: History) -> None:
    """An acknowledged message that the log does not have is named."""
    history.log = history.log[:-1]
    history.received = []
    only_fault(history, "acknowledged id20 at offset 20, where the log has None")


def test_another_message_at_an_acknowledged_offset_is_found(history: History) -> None:
    """The receipt's offset must be the message's place in the log."""
    history.acknowledged = [*history.acknowledged[:-1], replace(history.acknowledged[-1], id="id24")]
    only_fault(history, "acknowledged id24 at offset 20, where the log has id20")


def test_a_hole_in_the_log_is_found(history: History) -> None:
    """Offsets of the log grow by one."""
    history.log = [one for one in history.log if one["offset"] != 7]
    only_fault(history, "offsets are not 1, 2, 3 ...: 8 after 6")
    only_fault(history, "message numbers are not 1, 2, 3 ...: 6 after 4")


def test_a_message_twice_in_the_log_is_found(history: History) -> None:
    """One id of one author is one message."""
    history.log = [*history.log, {**history.log[9], "offset": 21, "number": 19}]
    history.received = []
    only_fault(history, "message id10 is there 2 times")


def test_two_authors_may_use_the_same_id(history: History) -> None:
    """Ids belong to their author."""
    stranger = {"id": "userx", "name": "Stranger"}
    history.log = [*history.log, {**history.log[9], "offset": 21, "number": 19, "user": stranger}]
    history.received, history.pages = [], {}
    assert history.check() == []


def test_a_message_nobody_sent_is_found(history: History) -> None:
    """What the log holds was sent by somebody."""
    history.offered = frozenset(f"id{offset}" for offset in range(4, 21))
    only_fault(history, "message id3 was never sent")


def test_an_order_against_the_acknowledgements_is_found(history: History) -> None:
    """What was asked for after an acknowledgement comes after it in the log."""
    acknowledged = list(history.acknowledged)
    acknowledged[3] = replace(acknowledged[3], asked=100, answered=101)
    history.acknowledged = acknowledged
    only_fault(history, "id6 at offset 6 was asked for after 20 was acknowledged")


def test_messages_at_the_same_time_have_any_order(history: History) -> None:
    """Of two that overlap either may come first."""
    first, second, *rest = history.acknowledged
    history.acknowledged = [replace(first, asked=4, answered=4.5), replace(second, asked=3.9, answered=4.4), *rest]
    assert history.check() == []


def test_a_dropped_delivery_is_found(history: History) -> None:
    """A receiver that misses an event is named, in the middle and at the end."""
    events = list(history.received[0].events)
    history.received[0].events = events[:4] + events[5:]
    only_fault(history, "Ann: offsets are not 3 .. 20, each once and in order: 8 after 6, 17 of 18")
    history.received[0].events = events[:-1]
    only_fault(history, "Ann: offsets are not 3 .. 20, each once and in order: ends with 19")


def test_a_duplicate_delivery_is_found(history: History) -> None:
    """A receiver that gets an event twice is named."""
    events = list(history.received[0].events)
    history.received[0].events = [*events[:5], events[4], *events[5:]]
    only_fault(history, "Ann: offsets are not 3 .. 20, each once and in order: 7 after 7")


def test_swapped_deliveries_are_found(history: History) -> None:
    """A receiver that gets two events in the other order is named."""
    events = list(history.received[0].events)
    events[4], events[5] = events[5], events[4]
    history.received[0].events = events
    only_fault(history, "Ann: offsets are not 3 .. 20, each once and in order: 8 after 6")


def test_a_leak_after_the_end_of_membership_is_found(history: History) -> None:
    """Who left gets nothing of what is said after."""
    history.received[1].events = [*history.received[1].events, history.log[12]]
    only_fault(history, "Ben: got offsets after 12, where its membership ended")


def test_a_leak_from_before_is_found(history: History) -> None:
    """Who came gets nothing of what was said before, unless asked for."""
    history.received[1].events = [history.log[4], *history.received[1].events]
    only_fault(history, "Ben: got offsets at or before 5, where it began")


def test_a_changed_event_is_found(history: History) -> None:
    """What is delivered is what the log holds."""
    history.received[0].events[3]["text"] = "something else"
    only_fault(history, "Ann: other events than in the log at offsets [6]")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_page_that_differs_is_found(history: History, size: int) -> None:
    """Pages lack an event, have one twice, have two in the other order, or have another text."""
    whole = list(history.log)
    for changed, kind in (
        (whole[:8] + whole[9:], LOST),
        ([*whole[:8], whole[7], *whole[8:]], DUPLICATED),
        ([*whole[:8], whole[9], whole[8], *whole[10:]], REORDERED),
        ([*whole[:8], {**whole[8], "text": "another"}, *whole[9:]], FORGED),
        (whole[:-1], LOST),
    ):
        history.pages = {**history.pages, size: changed}
        only_fault(history, f"pages of {size}: differ from the log", kind)


@pytest.mark.parametrize(("asked", "chosen", "kind"), [(7, (8, 9), LOST), (7, (6, 8), DUPLICATED), (6, (7, 8), LOST)])
def test_a_recovery_that_does_not_join_is_found(
    history: History, asked: int, chosen: tuple[int, int], kind: str
) -> None:
    """What is recovered begins right behind the position asked for: not later, and not with what is known already."""
    events = list(history.log[chosen[0] : chosen[1] + 1])
    history.received[0].recoveries = [Recovery(asked, True, events)]
    only_fault(history, f"recovered behind {asked}", kind)


def test_a_refused_recovery_is_found(history: History) -> None:
    """Who asked to go on and was refused is named."""
    history.received[0].recoveries = [Recovery(7, False)]
    only_fault(history, "Ann: could not go on behind 7", REFUSED)


def test_an_event_outside_of_the_membership_is_found(history: History) -> None:
    """By the log itself: what happened after somebody left and before the user came again is not for that user."""
    user = {"id": "user2", "name": "Ann"}
    log = list(history.log)
    log[9] = {"type": "left", "offset": 10, "user": user}
    log[13] = {"type": "joined", "offset": 14, "user": user}
    kept = [one for one in log if one["type"] == "message"]
    log = [{**one, "number": kept.index(one) + 1} if one["type"] == "message" else one for one in log]
    history.log, history.acknowledged, history.pages = log, [], {}
    history.received = [Received("Ann", 2, deepcopy(log[2:10]), upto=10, user="user2")]
    assert history.check() == []
    history.received = [Received("Ann", 13, deepcopy(log[13:]), user="user2")]
    assert history.check() == []
    history.received = [Received("Ann", 2, deepcopy(log[2:]), user="user2")]
    only_fault(history, "Ann: got [11, 12, 13] while no member", LEAKED)


def test_faults_are_counted_by_kind(history: History) -> None:
    """A lost event, a doubled one and an order against the acknowledgements are each of their kind."""
    events = list(history.received[0].events)
    history.received[0].events = events[:4] + events[6:]
    assert [(fault.kind, fault.count) for fault in history.check()] == [(LOST, 2)]
    history.received[0].events = [*events[:5], events[4], *events[5:]]
    assert {fault.kind for fault in history.check()} == {DUPLICATED}
    history.received[0].events = [*events[:5], events[6], events[5], *events[7:]]
    assert {fault.kind for fault in history.check()} == {REORDERED}
