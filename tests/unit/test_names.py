"""Ids and channels: what may become a subject token, and what may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import names, subjects

HOSTILE = ["", "a.b", "*", ">", "a b", "a\tb", "a\r\nb", "a\x00", "é", "A", "a" * 33, "a" * 5000, "general\n", "\ud800"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_ids_never_become_subjects(text: str) -> None:
    """An id outside the grammar is refused by every builder of subjects."""
    builders = (
        subjects.room_log,
        subjects.room_live,
        subjects.room_presence,
        subjects.revoked,
        subjects.lease,
        subjects.presence_of_room,
        subjects.presence_of_gateway,
        subjects.chat_command,
        lambda room: subjects.presence_entry(room, "g", "c"),
        lambda client: subjects.presence_entry("r", "g", client),
    )
    for build in builders:
        with pytest.raises(names.BadName):
            build(text)


@given(st.text(max_size=60))
def test_a_subject_has_only_the_tokens_we_gave_it(text: str) -> None:
    """Whatever the text, a room's subject is refused or has exactly three plain tokens."""
    try:
        subject = subjects.room_log(text)
    except names.BadName:
        return
    assert subject == f"room.{text}.log"
    assert subject.isascii()
    assert subject.count(".") == 2
    assert not set(subject) & set("*> \t\r\n\x00")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_rooms_are_no_channels(text: str) -> None:
    """A channel with a bad room id is unknown."""
    assert names.room_of_channel(f"room:{text}") is None


def test_a_room_channel_names_its_room() -> None:
    """`room:general` is the channel of the room general, and other namespaces are none."""
    assert names.room_of_channel(names.room_channel("general")) == "general"
    assert names.room_of_channel("user:general") is None


def test_new_ids_are_ids_and_differ() -> None:
    """A thousand new ids follow the grammar and do not repeat."""
    made = {names.new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(names.is_id(one) for one in made)


@pytest.mark.parametrize("text", ["", "a b", "a" * 65, "ü", "a\n", "a.b"])
def test_client_message_ids_are_plain(text: str) -> None:
    """An id a client gives its message is 1 to 64 of A-Z a-z 0-9 _ -."""
    assert not names.is_client_message_id(text)
    assert names.is_client_message_id("0f-A_z")
