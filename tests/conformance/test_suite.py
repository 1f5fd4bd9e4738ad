"""The conformance run itself: what went wrong in the suite is never counted as passed, and CI runs it."""

from pathlib import Path

import pytest

from tests.conformance import suite

ENDED_WELL = "Ran 3 tests in 0.1s\n\nOK\n"
ENDED_BADLY = "Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n"


def test_counts_are_those_of_unittest() -> None:
    """Failures and errors are failed, skipped tests are neither failed nor passed."""
    good, bad = suite.result("m", ENDED_WELL, 0, 1), suite.result("m", ENDED_BADLY, 1, 1)
    assert (good.passed, good.failed, good.skipped) == (3, 0, 0)
    assert (bad.passed, bad.failed, bad.skipped) == (1, 3, 1)


@pytest.mark.parametrize(
    ("output", "code"),
    [("", 0), ("", -9), ("Ran 0 tests in 0.0s\n\nOK\n", 0), (ENDED_WELL, 1)],
    ids=["silent", "killed", "empty", "bad-exit"],
)
def test_a_module_that_does_not_end_well_has_failed(output: str, code: int) -> None:
    """Nothing printed, nothing run, or a bad exit code: a failure, whatever else it says."""
    assert suite.result("m", output, code, 1).failed == 1


def test_a_module_that_hangs_has_failed(tmp_path: Path) -> None:
    """A run that does not end in time is ended, with what it started, and is a failure."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "__init__.py").touch()
    (tests / "test_hangs.py").write_text("import time\ntime.sleep(600)\n")
    found = suite.run(tmp_path, "tests.test_hangs", 1)
    assert (found.passed, found.failed) == (0, 1)
    assert "not ended after 1 s" in found.output


def test_the_suite_is_pinned_to_its_source_distribution() -> None:
    """One requirement, one hash: no wheel, which has no tests, fits."""
    lines = [line for line in suite.PIN.read_text().splitlines() if not line.startswith("#")]
    assert [line.split("==")[0] for line in lines if "==" in line] == ["centrifuge-python"]
    assert sum("--hash=sha256:" in line for line in lines) == 1


def test_continuous_integration_runs_the_suite() -> None:
    """.ci/run has a step for it."""
    assert "make conformance" in (suite.ROOT / ".ci" / "run").read_text()
