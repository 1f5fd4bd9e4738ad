"""What a subscriber that was away is told, and which part of history a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.operations import history_range
from gateway.recovery import fresh, is_complete, may_recover, recovered
from gateway.ring import Entry
from protocol.client import HistoryRequest, StreamPosition, SubscribeRequest


def entries(first: int, last: int) -> list[Entry]:
    """Events first .. last."""
    return [Entry(n, n, "message", "u", "c", b"{}") for n in range(first, last + 1)]


@pytest.mark.parametrize(
    ("epoch", "offset", "may"),
    [("e", 7, True), ("", 7, True), ("other", 7, False), ("e", 10, True), ("e", 11, False), ("e", 0, True)],
)
def test_recovery_needs_the_same_epoch_and_a_known_position(epoch: str, offset: int, may: bool) -> None:
    """An empty epoch means any; a position beyond the top is not ours."""
    assert may_recover(SubscribeRequest("room:a", recover=True, epoch=epoch, offset=offset), "e", 10, 300) is may


def test_recovery_has_a_limit() -> None:
    """More than the limit is not recovered at all."""
    request = SubscribeRequest("room:a", recover=True, epoch="e", offset=0)
    assert may_recover(request, "e", 300, 300)
    assert not may_recover(request, "e", 301, 300)


@given(st.lists(st.integers(1, 12), max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_only_the_whole_range_in_order_is_complete(offsets: list[int], after: int, top: int) -> None:
    """Any hole, repetition or disorder makes a range incomplete."""
    found = [Entry(n, n, "", "", "", b"") for n in offsets]
    assert is_complete(found, after, top) is (offsets == [*range(after + 1, top + 1)])


def test_success_leads_on_from_the_clients_own_offset() -> None:
    """`offset` is the one the client sent, and the publications advance it."""
    result = recovered(SubscribeRequest("room:a", recover=True, epoch="e", offset=3), "e", entries(4, 6))
    assert (result.recovered, result.was_recovering, result.offset, result.epoch) == (True, True, 3, "e")
    assert [publication.offset for publication in result.publications] == [4, 5, 6]


def test_failure_says_the_top_and_carries_nothing() -> None:
    """Never a part: no publications, `recovered` false, the current position."""
    result = fresh("e", 9, was_recovering=True)
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
