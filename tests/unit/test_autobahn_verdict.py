"""The judge of Autobahn's results fails what it has to fail."""

from typing import Any

import pytest

from tests.autobahn.verdict import CASES, OTHERWISE, judge


def results(**changed: Any) -> dict[str, dict[str, Any]]:
    """Return a full run where all is as it has to be, but for case 1.1.1, which has `changed`."""
    good = {"behavior": "OK", "behaviorClose": "OK", "remoteCloseCode": 1000}
    found = {f"1.1.{number}": dict(good) for number in range(1, CASES - len(OTHERWISE) + 1)}
    found |= {case: good | {"behavior": other} for case, other in OTHERWISE.items()}
    found["1.1.1"] |= changed
    return found


def test_a_run_as_it_has_to_be_passes() -> None:
    """Every case OK or as the written list has it."""
    assert judge(results()).wrong == []


@pytest.mark.parametrize("behavior", ["FAILED", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "WRONG CODE"])
def test_a_case_outside_the_list_fails_the_run(behavior: str) -> None:
    """Whatever is not OK is named, unless the list names it."""
    assert judge(results(behavior=behavior)).wrong == [f"1.1.1: {behavior}, closing OK, close code 1000"]


@pytest.mark.parametrize("close", ["FAILED", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT"])
def test_a_bad_end_fails_the_run(close: str) -> None:
    """A case counts only with the end that it has to have."""
    assert len(judge(results(behaviorClose=close)).wrong) == 1


def test_a_listed_case_may_not_get_worse() -> None:
    """The list names one other answer, and FAILED is none."""
    found = results()
    found["6.4.1"]["behavior"] = "FAILED"
    assert len(judge(found).wrong) == 1


def test_cases_that_did_not_run_are_missed() -> None:
    """A run that was cut short shows nothing."""
    found = results()
    del found["1.1.2"]
    assert judge(found).wrong == [f"only {CASES - 1} of {CASES} cases ran"]
