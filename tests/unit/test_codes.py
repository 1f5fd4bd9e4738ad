"""The catalogue of endings and refusals."""

import pytest

from protocol import codes


@pytest.mark.parametrize("code", codes.DISCONNECTS.values(), ids=lambda d: str(d.code))
def test_the_number_of_an_ending_says_whether_to_reconnect(code: codes.DisconnectCode) -> None:
    """SDKs decide by the range, so `reconnect` must agree with it; the reason fits a close frame."""
    terminal = 3500 <= code.code < 4000 or 4500 <= code.code < 5000 or code.code == 1009
    assert code.reconnect is not terminal
    assert 0 < len(code.reason.encode()) < 124


def test_every_code_is_in_the_catalogue_once() -> None:
    """No two constants share a number."""
    for kind, catalogue in (
        (codes.ErrorCode, codes.ERRORS),
        (codes.DisconnectCode, codes.DISCONNECTS),
        (codes.UnsubscribeCode, codes.UNSUBSCRIBES),
    ):
        assert len(catalogue) == sum(isinstance(value, kind) for value in vars(codes).values())


def test_temporary_errors_are_those_worth_a_retry() -> None:
    """Exactly internal, too many requests and unavailable may be tried again as they are."""
    assert {error.code for error in codes.ERRORS.values() if error.temporary} == {100, 111, 503}
