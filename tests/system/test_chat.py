"""People chat: what one says reaches the others, once and in order, over the official SDK and in plain frames."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
import websockets
from centrifuge import CentrifugeError, ReplyError

from tests.bench.clients import GENERAL, Frames, eventually, guest, new_message_id, registered
from tests.bench.people import Person
from tests.bench.ring import Ring

Enter = Callable[..., Awaitable[Person]]
Open = Callable[..., Awaitable[Frames]]


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


async def test_what_one_says_reaches_the_other_once_and_in_order(ring: Ring, enter: Enter) -> None:
    """A guest and a registered user hear each other, and themselves by the same way, once and in one order."""
    ann = await enter(ring, "Ann")
    ben = Person(ring, await registered(ring, "ben"))
    try:
        await ben.connect()
        room = await ann.make_room()
        of_ann, of_ben = await ann.follow(room), await ben.follow(room)
        receipts = []
        for number in range(10):
            for speaker in (ann, ben):
                receipts.append(await speaker.say(f"{speaker.account.name} {number}", room))
        expected = [f"{who.account.name} {number}" for number in range(10) for who in (ann, ben)]
        for seat in (of_ann, of_ben):
            await eventually(lambda seat=seat: len(seat.texts) >= len(expected), "everything arrives")
            assert seat.texts == expected
            assert [message["offset"] for message in seat.messages] == [one["offset"] for one in receipts]
        assert of_ann.messages == of_ben.messages
    finally:
        await ben.leave()


async def test_a_message_is_told_with_everything_a_reader_needs(ring: Ring, enter: Enter) -> None:
    """The event of a message names room, author, text, id, number and time; the receipt agrees with it."""
    ann = await enter(ring, "Ann")
    room = await ann.make_room()
    seat = await ann.follow(room)
    receipt = await ann.say("Hello", room, "my-first_ID")
    await eventually(lambda: seat.messages, "the message arrives")
    assert seat.messages[0] == {
        "v": 1,
        "type": "message",
        "room": room,
        "offset": receipt["offset"],
        "number": 1,
        "id": "my-first_ID",
        "user": {"id": ann.account.id, "name": "Ann"},
        "text": "Hello",
        "time": receipt["time"],
    }
    assert seat.publications[-1].info is not None
    assert seat.publications[-1].info.user == ann.account.id
    assert receipt["number"] == 1


async def test_a_retry_with_the_same_id_is_one_message(ring: Ring, enter: Enter) -> None:
    """The same id again gives the same receipt and no second message; with other content it is a conflict."""
    ann = await enter(ring, "Ann")
    room = await ann.make_room()
    seat = await ann.follow(room)
    first = await ann.say("once", room, "an-id")
    assert await ann.say("once", room, "an-id") == first
    with pytest.raises(ReplyError, match="409"):
        await ann.say("something else", room, "an-id")
    last = await ann.say("the end", room)
    await eventually(lambda: "the end" in seat.texts, "the last message arrives")
    assert seat.texts == ["once", "the end"]
    assert last["number"] == first["number"] + 1


async def test_members_joining_and_leaving_are_events(ring: Ring, enter: Enter) -> None:
    """Creating, joining and leaving a room are events with offsets like messages, seen by those who are in it."""
    ann, ben = await enter(ring, "Ann"), await enter(ring, "Ben")
    room = await ann.make_room("Tea")
    seat = await ann.follow(room)
    await ben.call("room.join", room=room)
    await ben.call("room.leave", room=room)
    await eventually(lambda: len(seat.events) >= 2, "both events arrive")
    assert [(one["type"], one["user"]["id"]) for one in seat.events] == [
        ("joined", ben.account.id),
        ("left", ben.account.id),
    ]
    history = (await ann.call("room.history", room=room))["events"]
    assert [one["type"] for one in history] == ["created", "joined", "joined", "left"]
    assert [one["offset"] for one in history] == [1, 2, 3, 4]
    assert history[0]["name"] == "Tea"


async def test_rooms_are_listed_with_membership_and_counts(ring: Ring, enter: Enter) -> None:
    """Everybody sees every room with its name, members and messages, and whether they are in it."""
    ann, ben = await enter(ring, "Ann"), await enter(ring, "Ben")
    room = await ann.make_room("Listed")
    await ann.say("one", room)
    for who, member in ((ann, True), (ben, False)):
        rooms = {one["id"]: one for one in (await who.call("room.list"))["rooms"]}
        assert GENERAL in rooms
        assert rooms[room] == {"id": room, "name": "Listed", "member": member, "members": 1, "messages": 1}
    await ben.call("room.join", room=room)
    members = await ben.call("room.members", room=room)
    assert members["total"] == 2
    assert {one["name"] for one in members["members"]} == {"Ann", "Ben"}


async def test_presence_says_who_is_online(ring: Ring, enter: Enter) -> None:
    """Presence lists every subscribed client with its user's name, and stats count clients and users."""
    ann, ben = await enter(ring, "Ann"), await enter(ring, "Ben")
    room = await ann.make_room()
    of_ann = await ann.follow(room)
    await ben.follow(room)
    second = Person(ring, ann.account)
    await second.connect()
    await second.subscribe(room)
    assert of_ann.subscription is not None
    subscription = of_ann.subscription

    async def counted() -> bool:
        stats = await subscription.presence_stats()
        return (stats.num_clients, stats.num_users) == (3, 2)

    await eventually(counted, "three clients of two users are counted")
    clients = (await subscription.presence()).clients
    assert {(one.user, one.conn_info["name"]) for one in clients.values()} == {
        (ann.account.id, "Ann"),
        (ben.account.id, "Ben"),
    }
    await second.leave()

    async def two() -> bool:
        return (await subscription.presence_stats()).num_clients == 2

    await eventually(two, "the third client is gone")


async def test_coming_online_and_going_offline_is_pushed(ring: Ring, enter: Enter) -> None:
    """Whoever asked for it learns of others' clients that come and go, and of one's own coming."""
    ann = await enter(ring, "Ann")
    room = await ann.make_room()
    seat = await ann.follow(room, join_leave=True)
    await eventually(lambda: seat.joins, "one's own join arrives")
    assert seat.joins[0].user == ann.account.id
    ben = await Person(ring, await guest(ring, "Ben")).connect()
    await ben.follow(room)
    await eventually(lambda: len(seat.joins) == 2, "Ben's join arrives")
    assert (seat.joins[1].user, seat.joins[1].conn_info) == (ben.account.id, {"name": "Ben"})
    client = ben.connected[-1]
    await ben.leave()
    await eventually(lambda: seat.leaves, "Ben's leave arrives")
    assert (seat.leaves[0].user, seat.leaves[0].client) == (ben.account.id, client)


@pytest.mark.parametrize("page", [1, 7, 100])
async def test_history_pages_give_the_whole_log(ring: Ring, enter: Enter, page: int) -> None:
    """Paging backwards and forwards in steps of any size gives every event once, in order."""
    ann = await enter(ring, "Ann")
    room = await ann.make_room()
    await asyncio.gather(*(ann.say(f"text {number}", room) for number in range(20)))
    top = 22  # created, joined, and the messages
    backwards: list[int] = []
    before = top + 1
    while True:
        found = await ann.call("room.history", room=room, before=before, limit=page)
        backwards = [one["offset"] for one in found["events"]] + backwards
        assert len(found["events"]) <= page
        if not found["more"]:
            break
        before = backwards[0]
    assert backwards == list(range(1, top + 1))
    forwards: list[int] = []
    more = True
    while more:
        found = await ann.call("room.history", room=room, after=forwards[-1] if forwards else 0, limit=page)
        forwards += [one["offset"] for one in found["events"]]
        more = found["more"]
    assert forwards == backwards


async def test_publish_is_sugar_for_sending(ring: Ring, enter: Enter) -> None:
    """The protocol's own publish stores a message by the same path: a bare text, or an object with text and id."""
    ann = await enter(ring, "Ann")
    room = await ann.make_room()
    seat = await ann.follow(room)
    assert seat.subscription is not None
    await seat.subscription.publish("bare")
    for _ in range(2):
        await seat.subscription.publish({"text": "an object", "id": "published"})
    receipt = await ann.say("an object", room, "published")
    await ann.say("the end", room)
    await eventually(lambda: "the end" in seat.texts, "the last message arrives")
    assert seat.texts == ["bare", "an object", "the end"]
    assert receipt["number"] == 2
    with pytest.raises(ReplyError, match="107"):
        await seat.subscription.publish({"words": 1})


async def test_only_members_subscribe_read_and_speak(ring: Ring, enter: Enter) -> None:
    """Who is not in a room cannot subscribe (103), read or send (403), nor publish."""
    ann, ben = await enter(ring, "Ann"), await enter(ring, "Ben")
    room = await ann.make_room()
    with pytest.raises(CentrifugeError):
        await ben.subscribe(room)
    assert ben.seats[room].unsubscribed == [103]
    with pytest.raises(ReplyError, match="403"):
        await ben.say("let me in", room)
    with pytest.raises(ReplyError, match="403"):
        await ben.call("room.history", room=room)
    with pytest.raises(ReplyError, match="403"):
        await ben.client.publish(f"room:{room}", "let me in")


async def test_leaving_a_room_ends_the_subscription(ring: Ring, enter: Enter) -> None:
    """Who leaves is unsubscribed by the server (2000), on every device, and hears nothing more."""
    ann, ben = await enter(ring, "Ann"), await enter(ring, "Ben")
    room = await ann.make_room()
    of_ann, of_ben = await ann.follow(room), await ben.follow(room)
    phone = await Person(ring, ben.account).connect()
    on_phone = await phone.subscribe(room)
    await ben.call("room.leave", room=room)
    for seat in (of_ben, on_phone):
        await eventually(lambda seat=seat: seat.unsubscribed, "the server unsubscribes")
        assert seat.unsubscribed == [2000]
    await ann.say("they are gone", room)
    await eventually(lambda: of_ann.texts, "Ann hears herself")
    assert [one["type"] for one in of_ann.events] == ["joined", "left", "message"]
    # Their connections are alive: what comes by now would have come before this answer.
    for one in (ben, phone):
        await one.call("echo", x=1)
    assert of_ben.texts == on_phone.texts == []
    await phone.leave()


async def test_a_batch_of_sends_keeps_its_order(ring: Ring, frames: Open) -> None:
    """Fifty sends in one frame are stored and delivered in the order in which they were written."""
    ann = await frames(ring)
    await ann.enter((await guest(ring)).access)
    room = await ann.make_room()
    await ann.follow(room)
    texts = [f"text {number}" for number in range(50)]
    commands = [
        ann.numbered(rpc={"method": "message.send", "data": {"room": room, "id": new_message_id(), "text": text}})
        for text in texts
    ]
    await ann.send(*commands)
    replies = [await ann.reply(command["id"]) for command in commands]
    numbers = [one["rpc"]["data"]["number"] for one in replies]
    assert numbers == list(range(1, 51))
    await ann.until(lambda: len(ann.texts(room)) >= 50, "all arrive")
    assert ann.texts(room) == texts


async def test_echo_in_three_lines(ring: Ring) -> None:
    """A plain WebSocket and three lines of JSON get an echo, of a text and of an object."""
    token = (await guest(ring)).access
    async with websockets.connect(ring.websocket_url, proxy=None) as socket:
        await socket.send(json.dumps({"id": 1, "connect": {"token": token}}))
        await socket.send('{"id": 2, "rpc": {"method": "echo", "data": "hello"}}')
        await socket.send('{"id": 3, "rpc": {"method": "echo", "data": {"hello": [1, 2.5, null, "\\u00e9"]}}}')
        lines: list[str] = []
        while len(lines) < 3:
            lines += str(await asyncio.wait_for(socket.recv(), 10)).split("\n")
    replies = [json.loads(line) for line in lines]
    assert replies[0]["connect"]["client"]
    assert replies[1] == {"id": 2, "rpc": {"data": "hello"}}
    assert replies[2] == {"id": 3, "rpc": {"data": {"hello": [1, 2.5, None, "é"]}}}


async def test_both_gateway_workers_deliver(ring: Ring, frames: Open) -> None:
    """Clients on either gateway process hear what is said on the other, and see each other in presence."""
    crowd: list[Frames] = []
    nodes: list[str] = []
    account = await guest(ring)
    while len(set(nodes)) < 2 or len(crowd) < 20:
        assert len(crowd) < 200, "one worker gets every connection"
        crowd.append(await frames(ring))
        nodes.append((await crowd[-1].enter(account.access))["node"])
    room = await crowd[0].make_room()
    for one in crowd:
        await one.follow(room)
    speakers = [crowd[nodes.index(node)] for node in sorted(set(nodes))]
    for speaker in speakers:
        await speaker.say(room, f"from {speakers.index(speaker)}")
    for one in crowd:
        await one.until(lambda one=one: len(one.texts(room)) >= 2, "both messages arrive")
        assert one.texts(room) == ["from 0", "from 1"]

    async def all_present() -> bool:
        counts = [await one.ask(presence_stats={"channel": f"room:{room}"}) for one in speakers]
        return [one["presence_stats"]["num_clients"] for one in counts] == [len(crowd)] * 2

    await eventually(all_present, "both workers count everybody")
