"""Nothing that NATS or its client would choke on leaves a service, whoever asked for it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.bus import BadSubject, Bus, TooLarge
from chassis.nats_writing import Malformed, Oversize, command
from chassis.settings import Settings
from tests.bench.nats import NatsServer

BAD = [
    "room.*.log",
    "room.>",
    ">",
    "*",
    "room.a b.log",
    "room.\t",
    "room.\r\nPING",
    "room.\x00",
    "room.é",
    "room.\u2028",
    "",
]


@pytest.fixture
async def bus(nats_server: Callable[..., NatsServer], tmp_path: Path) -> AsyncIterator[Bus]:
    """The connection of a gateway to a real NATS."""
    server = nats_server()
    made = Settings(data_dir=tmp_path, nats_url=server.url, nats_password=server.passwords["gateway"])  # type: ignore[arg-type]
    async with Bus(made, "gateway") as connected:
        yield connected


async def unharmed(bus: Bus) -> None:
    """Assert that the connection was never lost and still carries what is sent."""
    await bus.flush()
    assert bus.connected
    bus.send("gateway.control", b"{}")
    await bus.flush()


@pytest.mark.parametrize("subject", BAD)
async def test_a_bad_subject_does_not_leave(bus: Bus, subject: str) -> None:
    """Wildcards, spaces, control characters and other letters are refused in every way to send."""
    with pytest.raises(BadSubject):
        bus.send(subject, b"{}")
    for ask in (bus.request, bus.request_many):
        with pytest.raises(BadSubject):
            await ask(subject, b"{}")
    await unharmed(bus)


@pytest.mark.parametrize("subject", [one for one in BAD if not set(one) & set("*>")])
async def test_nor_is_it_subscribed_to(bus: Bus, subject: str) -> None:
    """A subscription may have wildcards, and nothing else of these."""
    with pytest.raises(BadSubject):
        await bus.subscribe(subject, print)
    await unharmed(bus)


async def test_what_is_too_large_does_not_leave(bus: Bus) -> None:
    """A subject of 5,000 characters, a body over the limit, and one that only its headers make too large."""
    limit = bus._client.max_payload
    for subject, body, headers in (
        ("room." + "a" * 5000, b"", {}),
        ("gateway.control", bytes(limit + 1), {}),
        ("gateway.control", bytes(limit - 20), {"Parley-User": "a" * 100}),
        ("gateway.control", b"", {"Parley-User": "é" * limit}),
    ):
        with pytest.raises(TooLarge):
            bus.send(subject, body, headers)
        with pytest.raises(TooLarge):
            await bus.request(subject, body, headers)
    await unharmed(bus)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.text(".*> \r\n\t\x00aé", max_size=8) | st.text(min_size=500, max_size=600))
def test_whatever_is_asked_only_plain_subjects_leave(subject: str) -> None:
    """What the check lets through is printable ASCII of at most 512 characters without wildcards."""
    try:
        command(subject, "", b"", None, 1000)
    except (Malformed, Oversize):
        return
    assert 0 < len(subject) <= 512
    assert subject.isascii()
    assert subject.isprintable()
    assert not set(subject) & set("*> ")
