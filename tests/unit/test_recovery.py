"""What a subscriber that was away is told, and which part of history a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.operations import history_range
from gateway.recovery import completed, fresh, is_complete, kept_since, recovered
from gateway.ring import Entry, Ring
from protocol.client import HistoryRequest, StreamPosition, SubscribeRequest
from protocol.client_json import JSON


def entries(first: int, last: int) -> list[Entry]:
    """Events first .. last."""
    return [Entry(n, n, "message", "u", "c", b"{}") for n in range(first, last + 1)]


def ring(top: int, held: int) -> Ring:
    """A ring up to `top` that holds the last `held` events."""
    made = Ring(top - held, top - held, most=100, most_bytes=10**6)
    for entry in entries(top - held + 1, top):
        made.append(entry)
    return made


def test_what_was_read_is_completed_from_the_ring() -> None:
    """What arrived while the log was read is taken from the ring; together they are the whole range."""
    whole = completed(entries(4, 6), 3, ring(9, 5))
    assert whole is not None
    assert [entry.offset for entry in whole] == [4, 5, 6, 7, 8, 9]
    assert completed([], 9, ring(9, 5)) == []


@pytest.mark.parametrize("missed", [None, entries(5, 6), entries(4, 4) + entries(6, 6), []])
def test_what_cannot_be_completed_is_nothing(missed: list[Entry] | None) -> None:
    """A hole before, in, or behind what was read makes the recovery fail as a whole."""
    assert completed(missed, 3, ring(9, 3)) is None


def test_old_events_are_not_history() -> None:
    """Events older than the namespace keeps them are not given out."""
    young, old = (Entry(n, n, "", "", "", b"", stored_at=n) for n in (20, 10))
    assert kept_since([young], 15)
    assert not kept_since([old, young], 15)


@given(st.lists(st.integers(1, 12), max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_only_the_whole_range_in_order_is_complete(offsets: list[int], after: int, top: int) -> None:
    """Any hole, repetition or disorder makes a range incomplete."""
    found = [Entry(n, n, "", "", "", b"") for n in offsets]
    assert is_complete(found, after, top) is (offsets == [*range(after + 1, top + 1)])


def test_success_leads_on_from_the_clients_own_offset() -> None:
    """`offset` is the one the client sent, and the publications advance it."""
    request = SubscribeRequest("room:a", recover=True, epoch="e", offset=3)
    result = recovered(request, "e", entries(4, 6), JSON, wants_delta=False)
    assert (result.recovered, result.was_recovering, result.offset, result.epoch) == (True, True, 3, "e")
    assert [publication.offset for publication in result.publications] == [4, 5, 6]


def test_failure_says_the_top_and_carries_nothing() -> None:
    """Never a part: no publications, `recovered` false, the current position."""
    result = fresh("e", 9, recoverable=True, was_recovering=True)
    assert (result.recovered, result.was_recovering, result.offset, result.publications) == (False, True, 9, [])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HistoryRequest(limit=0), (0, 0)),
        (HistoryRequest(limit=3), (0, 3)),
        (HistoryRequest(limit=-1), (0, 10)),
        (HistoryRequest(limit=3, since=StreamPosition(4, "e")), (4, 7)),
        (HistoryRequest(limit=3, since=StreamPosition(99, "e")), (10, 10)),
        (HistoryRequest(limit=3, reverse=True), (7, 10)),
        (HistoryRequest(limit=3, since=StreamPosition(4, "e"), reverse=True), (0, 3)),
        (HistoryRequest(limit=2, since=StreamPosition(9, "e"), reverse=True), (6, 8)),
    ],
)
def test_history_requests_mean_a_range(request_: HistoryRequest, expected: tuple[int, int]) -> None:
    """`since` is exclusive in both directions; a limit of 0 asks for the position only."""
    assert history_range(request_, top=10, most=300) == expected


def test_history_without_since_starts_at_the_retained_tail() -> None:
    """Of a long log, a forward request without `since` sees the newest `most` events."""
    assert history_range(HistoryRequest(limit=-1), top=1000, most=300) == (700, 1000)
