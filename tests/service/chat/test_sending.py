"""Sending: one order, one message per id, whoever races."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from chassis.bus import Bus
from chassis.streams import Stream
from protocol import codes, events, subjects
from protocol.commands import Refusal
from tests.bench.nats import NatsServer
from tests.service.chat.logbook import ROOMS, archived, checked_log
from tests.service.chat.replica import ADA, BOB, GENERAL, Asker, Replica, User, chat_settings

Replicas = Callable[..., Replica]


async def test_two_replicas_race_into_one_order(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """400 messages through two processes get offsets without a gap, each once, as each author was told."""
    both = [replicas(), replicas()]
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)

    async def talk(user: User) -> dict[str, int]:
        told = {}
        for start in range(0, 200, 20):
            ids = [f"{user.id}-{n}" for n in range(start, start + 20)]
            answers = await asyncio.gather(
                *(asker.insist(user, "message.send", room=GENERAL, id=id, text=f"text of {id}") for id in ids)
            )
            told |= {id: answer["offset"] for id, answer in zip(ids, answers, strict=True)}
        return told

    told = {id: offset for each in await asyncio.gather(talk(ADA), talk(BOB)) for id, offset in each.items()}

    log = (await checked_log(nats, tmp_path))[GENERAL]
    assert {event.id: event.offset for event in log if event.type == events.MESSAGE} == told
    assert len(told) == 400
    shares = [replica.metric('parley_chat_commands_total{method="message.send",result="ok"}') for replica in both]
    assert all(share > 50 for share in shares), f"the replicas did not both work: {shares}"


async def test_what_was_acknowledged_first_comes_first(replicas: Replicas, asker: Asker) -> None:
    """A message sent after another's acknowledgement has the higher offset, through whichever replica."""
    replicas(), replicas()
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)
    offsets = [(await asker.send((ADA, BOB)[n % 2], GENERAL, f"m{n}"))["offset"] for n in range(60)]

    assert offsets == sorted(set(offsets))


async def test_one_id_at_once_is_one_message(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """The same message, sent many times at once through two replicas, is stored once and answered the same."""
    replicas(), replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    for n in range(20):
        sends = (asker.insist(ADA, "message.send", room=GENERAL, id=f"same{n}", text="hello") for _ in range(10))
        answers = await asyncio.gather(*sends)
        assert all(answer == answers[0] for answer in answers), answers

    messages = [e for e in (await checked_log(nats, tmp_path))[GENERAL] if e.type == events.MESSAGE]
    assert [event.id for event in messages] == [f"same{n}" for n in range(20)]


async def test_a_retry_after_the_duplicate_window_is_answered_by_the_archive(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """An id that memory and NATS have forgotten still gets its first answer, and a conflict with another text."""
    async with Bus(chat_settings(nats, tmp_path), "chat") as bus:
        stream = Stream(bus, subjects.ROOMS_STREAM)
        await stream.ensure(**ROOMS, duplicate_window=1_000_000_000)
        replica = replicas(CHAT_RECEIPTS="4")
        await asker.ask(ADA, "room.join", room=GENERAL)
        first = await asker.send(ADA, GENERAL, "old", "hello")
        for n in range(20):
            await asker.send(ADA, GENERAL, f"later{n}")
        await archived(replica, nats, tmp_path)
        # NATS has forgotten an id once it stores it again.
        async with asyncio.timeout(20):
            while (await stream.append("room.probe.log", b"{}", {}, message_id="probe")).duplicate:
                await asyncio.sleep(0.1)
            while (await stream.append("room.probe.log", b"{}", {}, message_id="probe")).duplicate:
                await asyncio.sleep(0.1)

    assert await asker.insist(ADA, "message.send", room=GENERAL, id="old", text="hello") == first
    conflict = await asker.insist(ADA, "message.send", room=GENERAL, id="old", text="other")
    assert isinstance(conflict, Refusal)
    assert conflict.code == codes.CONFLICT.code
    assert replica.metric('parley_chat_duplicates_total{known_by="archive"}') == 1


async def test_a_restarted_replica_knows_old_ids(replicas: Replicas, asker: Asker) -> None:
    """What a process that is gone acknowledged, its successor acknowledges again."""
    replica = replicas(CHAT_RECEIPTS="4")
    await asker.ask(ADA, "room.join", room=GENERAL)
    first = [await asker.send(ADA, GENERAL, f"m{n}") for n in range(12)]
    replica.kill()
    replica.start()

    again = [await asker.insist(ADA, "message.send", room=GENERAL, id=f"m{n}", text="hello") for n in range(12)]

    assert again == first


async def test_a_removed_member_cannot_speak_through_the_other_replica(replicas: Replicas, asker: Asker) -> None:
    """After the answer to room.leave no replica takes a message or says yes; after room.join none says no."""
    replicas(), replicas()
    for n in range(30):
        await asker.ask(ADA, "room.join", room=GENERAL)
        answers = await asyncio.gather(*(asker.ask(ADA, "room.access", room=GENERAL) for _ in range(4)))
        assert all(answer["member"] for answer in answers)
        assert "offset" in await asker.send(ADA, GENERAL, f"in{n}")
        await asker.ask(ADA, "room.leave", room=GENERAL)
        refused = await asyncio.gather(*(asker.send(ADA, GENERAL, f"out{n}-{m}") for m in range(4)))
        assert [answer.code for answer in refused] == [403] * 4


async def test_more_than_the_bound_is_refused_at_once(replicas: Replicas, asker: Asker) -> None:
    """Beyond CHAT_IN_FLIGHT commands the answer is 503, and what was taken is carried out."""
    replica = replicas(CHAT_IN_FLIGHT="4")
    await asker.ask(ADA, "room.join", room=GENERAL)

    answers = await asyncio.gather(*(asker.send(ADA, GENERAL, f"m{n}") for n in range(100)))

    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {answer.code for answer in refused} == {codes.UNAVAILABLE.code}
    assert replica.metric("parley_chat_overflow_total") == len(refused) > 0
    assert replica.metric("parley_chat_in_flight_commands") == 0
