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
        subjects.revoked,
        subjects.revoked_user,
        subjects.revoked_key,
        subjects.lease,
        subjects.chat_command,
        subjects.gateway,
        names.room_channel,
        names.user_channel,
        lambda gateway: subjects.presence_entry(subjects.address("room:a"), gateway, "c"),
        lambda client: subjects.presence_entry(subjects.address("room:a"), "g", client),
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


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_any_channel_has_a_plain_address(channel: str) -> None:
    """Whatever a general channel is called, its subjects are short, plain, of four tokens; or it has none."""
    try:
        address = subjects.address(channel)
    except names.BadName:
        assert names.namespace_of(channel) in ("room", "user")
        return
    for subject in (address.log, address.live, address.presence):
        tokens = subject.split(".")
        assert len(tokens) in (3, 4)
        assert all(tokens)
        assert not set(subject) & set("*> \t\r\n\x00")
        assert len(subject) < 300


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=90), max_size=20))
def test_different_channels_have_different_addresses(channels: list[str]) -> None:
    """Escaping never makes two channels one."""
    apart = {one for one in channels if names.namespace_of(one) not in ("room", "user")}
    assert len({subjects.address(one).log for one in apart}) == len(apart)


@pytest.mark.parametrize("channel", ["", "a b", "é", "x" * 256, "room:", "room:A", "user:a.b", "a\n"])
def test_what_is_no_channel_has_no_address(channel: str) -> None:
    """Bad names, and bad ids in our own namespaces, are refused."""
    with pytest.raises(names.BadName):
        subjects.address(channel)


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
