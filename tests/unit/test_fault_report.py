"""The report of fault rows: what of an earlier run counts as done."""

from pathlib import Path

from tests.bench.stays import LOST
from tests.faults.report import Report
from tests.faults.rows import Row


def row(name: str, asked: int | None = None, short: bool = False) -> Row:
    """Return a row that has acknowledged a thousand messages."""
    return Row(name, short, asked, print, acknowledged=1000)


def test_rows_that_kept_everything_are_done(tmp_path: Path) -> None:
    """Kept rows are; others are not, nor those that were asked for less."""
    report = Report(tmp_path / "report.jsonl")
    assert not report.green(None, False)
    report.add(row("kept"), True)
    report.add(row("broken"), False)
    report.add(row("few", asked=10), True)
    report.add(row("brief", short=True), True)
    assert report.green(None, False).keys() == {"kept"}
    assert report.green(10, False).keys() == {"few"}
    assert report.green(None, False)["kept"]["acknowledged"] == 1000


def test_the_last_line_of_a_row_counts(tmp_path: Path) -> None:
    """A row that was kept once and then broke is to be run again."""
    report = Report(tmp_path / "report.jsonl")
    broken = row("one")
    broken.counted[LOST] = 1
    report.add(row("one"), True)
    report.add(broken, False)
    assert not report.green(None, False)
    report.add(row("one"), True)
    assert report.green(None, False)["one"][LOST] == 0


def test_a_line_that_was_cut_off_is_none(tmp_path: Path) -> None:
    """The run ended while it wrote; the next line stands for itself."""
    report = Report(tmp_path / "report.jsonl")
    report.add(row("kept"), True)
    assert report.path is not None
    report.path.write_text(report.path.read_text() + '{"row": "half", "gre')
    assert report.green(None, False).keys() == {"kept"}
    report.add(row("next"), True)
    assert report.green(None, False).keys() == {"kept", "next"}
