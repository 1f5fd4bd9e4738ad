"""The canary's notes: they are read as they were written, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.note import Note


@given(st.text(max_size=20), st.integers(), st.integers())
def test_a_note_is_read_as_it_was_written(run: str, number: int, sent: int) -> None:
    """What a message says is what was to be said."""
    note = Note(run, number, sent)
    assert Note.read(note.text()) == (note if len(note.text()) <= 200 else None)


@pytest.mark.parametrize(
    "written", ["", "{}", "[]", "7", "null", '{"run":1,"number":1,"sent":1}', '{"run":"a","number":true,"sent":1}']
)
def test_what_others_write_is_not_ours(written: str) -> None:
    """Other texts, and those that only look like ours, are left alone."""
    assert Note.read(written) is None


@given(st.one_of(st.text(), st.none(), st.dictionaries(st.sampled_from(["run", "number", "sent"]), st.text()).map(str)))
def test_whatever_is_written_is_survived(written: str | None) -> None:
    """Whatever people write in the room: it is ours and well formed, or it is not ours."""
    assert Note.read(written) is None
