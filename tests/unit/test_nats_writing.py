"""What is sent to NATS stands on the wire as the protocol has it, and nothing else can be made of it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.nats_reading import parsed
from chassis.nats_writing import MAX_SUBJECT, Malformed, Oversize, command

MOST = 1000


def test_a_publication_stands_as_the_protocol_has_it() -> None:
    """PUB, with and without a place for answers; HPUB with both lengths."""
    assert command("room.a", "", b"hi", None, MOST) == b"PUB room.a 2\r\nhi\r\n"
    assert command("room.a", "in.1", b"", {}, MOST) == b"PUB room.a in.1 0\r\n\r\n"
    assert command("a", "", b"hi", {"K": "v"}, MOST) == b"HPUB a 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\n"


NAMES = st.text(st.sampled_from("AbC-x"), min_size=1, max_size=10)
VALUES = st.text(st.sampled_from("ab:=+/0"), max_size=20)


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.binary())
def test_headers_come_back_as_they_were(headers: dict[str, str], body: bytes) -> None:
    """The lengths cut exactly what was written."""
    line, _, rest = command("a", "", body, headers, 10_000).partition(b"\r\n")
    head, size = map(int, line.split()[2:])
    assert parsed(rest[:head]) == headers
    assert rest[head:] == body + b"\r\n"
    assert size == head + len(body)


@given(st.text(max_size=40))
def test_no_subject_is_two_commands_or_everybodys(subject: str) -> None:
    """Whatever is not printable ASCII, a space or a wildcard is refused."""
    if re.fullmatch(r"[!-)+-=?-~]+", subject):
        assert command(subject, "", b"", None, MOST).startswith(b"PUB " + subject.encode() + b" 0\r\n")
    else:
        with pytest.raises(Malformed):
            command(subject, "", b"", None, MOST)


@pytest.mark.parametrize(
    ("subject", "body", "headers"),
    [
        ("a" * (MAX_SUBJECT + 1), b"", None),
        ("a", b"x" * (MOST + 1), None),
        ("a", b"x" * (MOST - 10), {"K": "v"}),
        ("a", b"", {"K": "v\r\nEvil: yes"}),
        ("a", b"", {"K\n": "v"}),
        ("a", b"", {"K": "v\r"}),
    ],
)
def test_what_nats_would_end_the_connection_for_is_refused(
    subject: str, body: bytes, headers: dict[str, str] | None
) -> None:
    """Too long, too large with its headers, or a header that would be two."""
    with pytest.raises((Oversize, Malformed)):
        command(subject, "", body, headers, MOST)
