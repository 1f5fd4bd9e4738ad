"""The canary's judgement: every fault is noticed once, and honest streams never are; its notes and settings."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.ledger import Ledger, Verdict
from canary.note import Note
from canary.settings import Settings
from chassis.settings import BadSetting

LOST_AFTER = 30.0
BROKEN = (Verdict.DUPLICATED, Verdict.REORDERED, Verdict.LATE)


@dataclass
class Counts:
    """What a ledger found in all."""

    lost: list[tuple[str, int]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def broken(self) -> dict[str, int]:
        """How often each promise was broken; empty when none was."""
        found = {verdict.value: self.verdicts.count(verdict) for verdict in BROKEN}
        return {name: count for name, count in (found | {"lost": len(self.lost)}).items() if count}


class World:
    """A room with honest servers, as one sender and its receivers see it; `time` moves by hand."""

    def __init__(self, receivers: int = 2, capacity: int = 1000) -> None:
        self.names = [f"receiver{number}" for number in range(receivers)]
        self.ledger = Ledger(self.names, LOST_AFTER, capacity)
        self.log: list[int] = []
        self.given = dict.fromkeys(self.names, 0)
        self.there = dict.fromkeys(self.names, True)
        self.open = 0
        self.time = 0.0
        self.counts = Counts()
        for name in self.names:
            self.ledger.attend(name, True, self.time)

    def send(self, answered: bool = True) -> None:
        """Send the next number, or the one that was not answered once more."""
        if not self.open:
            self.open = self.ledger.offer(self.time)
            self.log.append(self.open)
        if answered:
            self.ledger.acknowledge(self.open, self.time)
            self.open = 0
        else:
            self.ledger.fail()

    def push(self, name: str, numbers: Iterable[int]) -> None:
        """Give numbers to a receiver, whatever they are."""
        for number in numbers:
            self.counts.verdicts.append(self.ledger.receive(name, number, self.time).verdict)

    def deliver(self, name: str) -> None:
        """Give a receiver that is there what it has not got."""
        if self.there[name]:
            self.push(name, self.missing(name))
            self.given[name] = len(self.log)

    def missing(self, name: str) -> list[int]:
        """Return what the log has beyond what the receiver was given."""
        return self.log[self.given[name] :]

    def go(self, name: str) -> None:
        """Have a receiver lose its connection."""
        self.there[name] = False
        self.ledger.attend(name, False, self.time)

    def come(self, name: str, recovered: bool) -> None:
        """Have a receiver come back; what it missed is given, or it is told to read it, which takes a while."""
        self.there[name] = True
        if recovered:
            self.ledger.attend(name, True, self.time)
            self.deliver(name)
            return
        to_read = self.missing(name)
        self.given[name] = len(self.log)
        self.wait(2 * LOST_AFTER)
        self.ledger.reload(name, to_read)
        self.ledger.attend(name, True, self.time)

    def wait(self, seconds: float) -> None:
        """Let time pass, at the end of which every connection lives and a send is answered, and judge."""
        self.time += seconds
        for name in self.names:
            self.ledger.prove(name, self.time)
        self.send()
        for name in self.names:
            self.deliver(name)
        self.counts.lost += self.ledger.judge()

    def end(self) -> dict[str, int]:
        """Let everything arrive that is due, wait until all is judged; return what is broken."""
        for name in self.names:
            self.deliver(name)
        self.wait(2 * LOST_AFTER)
        return self.counts.broken


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "unanswered", "deliver", "go", "recover", "reload", "wait"]), st.integers(0, 1)),
    max_size=40,
)


def play(world: World, steps: list[tuple[str, int]]) -> World:
    """Do what the steps say, as honest servers would: who is there is given everything within the time."""
    for step, place in steps:
        name = world.names[place]
        if step in ("send", "unanswered"):
            world.send(answered=step == "send")
        elif step == "deliver":
            world.deliver(name)
        elif step == "go":
            world.go(name)
        elif step in ("recover", "reload") and not world.there[name]:
            others = [one for one in world.names if one != name]
            for other in others:
                world.deliver(other)  # reloading takes long
            world.come(name, recovered=step == "recover")
        elif step == "wait":
            for one in world.names:
                world.deliver(one)  # honest servers do not take as long
            world.wait(3 * LOST_AFTER)
    return world


@given(STEPS)
def test_honest_streams_are_never_accused(steps: list[tuple[str, int]]) -> None:
    """Whatever connections break, sends stay unanswered and histories are read: nothing is found where nothing is."""
    world = play(World(), steps)
    assert world.end() == {}
    assert world.ledger.unjudged == 0


@given(STEPS, st.data())
def test_a_dropped_number_is_lost_once(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    """Of what is sent later one number does not reach one receiver: exactly that is found, and nothing else."""
    world = settled(steps)
    name = data.draw(st.sampled_from(world.names))
    stream = later(world, name)
    dropped = data.draw(st.sampled_from(stream))
    world.push(name, [number for number in stream if number != dropped])
    assert world.end() == {"lost": 1}
    assert world.counts.lost == [(name, dropped)]


@given(STEPS, st.data())
def test_a_repeated_number_is_duplicated(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    """A number that comes again is found, however much later, also one of an earlier connection."""
    world = settled(steps)
    name = data.draw(st.sampled_from(world.names))
    stream = later(world, name)
    place = data.draw(st.integers(0, len(stream)))
    had = [number for number in world.log if number < stream[0]] + stream[:place]
    again = [data.draw(st.sampled_from(had))] if had else []
    world.push(name, [*stream[:place], *again, *stream[place:]])
    assert world.end() == ({"duplicated": 1} if again else {})


@given(STEPS, st.data())
def test_two_swapped_numbers_are_reordered(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    """Of two numbers that change places one is out of order; neither is lost or duplicated."""
    world = settled(steps)
    name = data.draw(st.sampled_from(world.names))
    stream = later(world, name)
    first, second = sorted(data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=2, max_size=2, unique=True)))
    stream[first], stream[second] = stream[second], stream[first]
    world.push(name, stream)
    # Everything between the two comes after a higher number as well, and so does the lower of them.
    assert world.end() == {"reordered": second - first}


def settled(steps: list[tuple[str, int]]) -> World:
    """Return a world after an honest past, in which everybody is there and has everything."""
    world = play(World(), steps)
    for name in world.names:
        if not world.there[name]:
            world.come(name, recovered=True)
        world.deliver(name)
    if world.open:
        world.send()
    return world


def later(world: World, name: str) -> list[int]:
    """Send five more numbers; return what `name` is still to be given, who counts as having it."""
    for _ in range(5):
        world.send()
    stream = world.missing(name)
    world.given[name] = len(world.log)
    return stream


class Line:
    """A ledger of one receiver whose connection proves its life whenever a send is answered."""

    def __init__(self) -> None:
        self.ledger = Ledger(["one"], LOST_AFTER)
        self.ledger.attend("one", True, 0)

    def send(self, at: float, alive: bool = True) -> int:
        """Send a number that is acknowledged at once."""
        number = self.ledger.offer(at)
        if alive:
            self.ledger.prove("one", at)
        self.ledger.acknowledge(number, at)
        return number

    @property
    def lost(self) -> list[int]:
        """What became lost since this was asked last."""
        return [number for _, number in self.ledger.judge()]


def test_what_was_not_acknowledged_is_not_lost() -> None:
    """A send without an answer promises nothing; once it is acknowledged the time begins."""
    line = Line()
    number = line.ledger.offer(0)
    line.ledger.fail()
    line.ledger.acknowledge(number, 100)
    assert line.lost == []
    line.send(100 + LOST_AFTER - 1)
    assert line.lost == []
    line.send(100 + LOST_AFTER)
    assert line.lost == [number]
    assert line.lost == []


def test_an_outage_is_no_loss() -> None:
    """Until a send is answered again no time counts, nor does that before it failed: who knows when it began."""
    line = Line()
    line.send(0)
    second = line.ledger.offer(LOST_AFTER - 1)
    line.ledger.fail()
    line.ledger.prove("one", 100 * LOST_AFTER)
    line.ledger.acknowledge(second, 100 * LOST_AFTER)
    assert line.lost == []
    line.send(101 * LOST_AFTER - 1)
    assert line.lost == []
    line.send(101 * LOST_AFTER)
    assert line.lost == [1, 2]


def test_an_absence_is_no_loss() -> None:
    """The time in which a receiver is not there, or reads what it was told to, does not count; that before it does."""
    line = Line()
    line.send(0)
    line.send(LOST_AFTER - 1)
    line.ledger.attend("one", False, LOST_AFTER)
    line.send(100 * LOST_AFTER)
    line.ledger.attend("one", True, 100 * LOST_AFTER)
    assert line.lost == []
    line.send(100 * LOST_AFTER + 1)
    assert line.lost == [1]


def test_a_dead_connection_is_no_loss() -> None:
    """Of a connection that is silent for long and then ends nobody knows when it died; one that answers is judged."""
    line = Line()
    for at in range(0, 90, 10):
        line.send(at, alive=False)
    assert line.lost == []
    line.ledger.attend("one", False, 90)
    line.ledger.attend("one", True, 90)
    line.send(91)
    assert line.lost == []
    line.send(200)
    assert len(line.lost) == 10


def test_no_time_is_counted_twice() -> None:
    """A number is given its whole time from its acknowledgement on, however long ago the last sign of life was."""
    line = Line()
    line.send(LOST_AFTER - 1, alive=False)
    line.send(LOST_AFTER)
    line.send(2 * LOST_AFTER - 2)
    assert line.lost == []
    line.send(2 * LOST_AFTER - 1)
    assert line.lost == [1]


def test_what_comes_after_all_is_late() -> None:
    """A number that was counted as lost and then comes is late: neither duplicated nor reordered, and lost it stays."""
    line = Line()
    line.send(0)
    line.send(LOST_AFTER)
    assert line.lost == [1]
    verdicts = [line.ledger.receive("one", number, LOST_AFTER).verdict for number in (2, 1, 1)]
    assert verdicts == [Verdict.FIRST, Verdict.LATE, Verdict.DUPLICATED]


def test_the_acknowledgement_may_come_last() -> None:
    """What reached a receiver before the sender was answered is not waited for."""
    line = Line()
    number = line.ledger.offer(0)
    assert line.ledger.receive("one", number, 0).verdict is Verdict.FIRST
    line.ledger.acknowledge(number, 1)
    line.send(10 * LOST_AFTER)
    assert line.lost == []


def test_latency_is_from_the_first_send() -> None:
    """Latency counts from the first attempt; it is not told of duplicates, nor of what was sent in a wanted absence."""
    ledger = Ledger(["one"], LOST_AFTER)
    for _ in range(3):
        ledger.offer(10)
    assert ledger.receive("one", 1, 10.25).latency == pytest.approx(0.25)
    assert ledger.receive("one", 1, 11).latency is None
    ledger.excuse("one", 12)
    assert ledger.receive("one", 2, 12).latency is None
    assert ledger.receive("one", 3, 12).verdict is Verdict.FIRST
    ledger.offer(13)
    assert ledger.receive("one", 4, 13.5).latency == pytest.approx(0.5)


def test_numbers_never_offered_are_ignored() -> None:
    """Nobody in the room can make the canary believe in numbers that it did not send."""
    ledger = Ledger(["one"], LOST_AFTER)
    ledger.offer(0)
    assert [ledger.receive("one", number, 1).verdict for number in (0, -1, 2, 10**9)] == [Verdict.IGNORED] * 4
    assert ledger.reload("one", [0, 2, 10**9]) == 0
    assert ledger.receive("one", 1, 1).verdict is Verdict.FIRST


def test_a_reload_counts_what_is_new() -> None:
    """What was had already is not reloaded, and what was reloaded and is pushed after all came twice."""
    world = World(receivers=1)
    for _ in range(4):
        world.send()
    world.push("receiver0", [1])
    assert world.ledger.reload("receiver0", [1, 2, 3]) == 2
    world.push("receiver0", [4, 3])
    world.given["receiver0"] = 4
    assert world.end() == {"duplicated": 1}


@given(st.integers(1, 8), st.lists(st.integers(1, 60), max_size=80))
def test_memory_is_bounded(capacity: int, pushed: list[int]) -> None:
    """However long a receiver is away, no more than the capacity is kept; what is forgotten is counted, not judged."""
    ledger = Ledger(["one", "away"], LOST_AFTER, capacity)
    ledger.attend("one", True, 0)
    for number in range(1, 61):
        ledger.acknowledge(ledger.offer(number), number)
    for number in pushed:
        ledger.receive("one", number, 61)
    for seen in ledger._seen.values():
        assert max(len(seen._gaps), len(seen._expected), len(seen._lost)) <= capacity
    assert len(ledger._offered) <= capacity
    assert ledger.unjudged == 2 * (60 - capacity)
    assert len(ledger.judge()) <= capacity


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


@pytest.mark.parametrize(
    ("url", "auth", "websocket", "sign_in"),
    [
        ("http://chat.local:8080", "", "ws://chat.local:8080/connection/websocket", "http://chat.local:8080/auth"),
        ("https://chat.local/", "", "wss://chat.local/connection/websocket", "https://chat.local/auth"),
        ("http://a:1", "http://a:2/auth/", "ws://a:1/connection/websocket", "http://a:2/auth"),
    ],
)
def test_addresses_follow_from_one(
    monkeypatch: pytest.MonkeyPatch, url: str, auth: str, websocket: str, sign_in: str
) -> None:
    """The public address tells the others, unless sign-in has one of its own."""
    monkeypatch.setenv("CANARY_URL", url)
    monkeypatch.setenv("CANARY_AUTH_URL", auth)
    settings = Settings.load()
    assert (settings.websocket_url, settings.auth_url) == (websocket, sign_in)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CANARY_URL", "chat.example.com"),
        ("CANARY_URL", "ws://chat.example.com"),
        ("CANARY_URL", "http://"),
        ("CANARY_URL", "http://a:port"),
        ("CANARY_URL", "http://a/?b=c"),
        ("CANARY_AUTH_URL", "nowhere"),
        ("CANARY_RECEIVERS", "0"),
        ("CANARY_INTERVAL_SECONDS", "0"),
        ("CANARY_LOST_AFTER_SECONDS", "-1"),
        ("CANARY_USERNAME", "canary"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One line names the setting that cannot be used."""
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=name):
        Settings.load()


def test_a_password_without_a_name_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The complaint about half an account does not repeat the password."""
    monkeypatch.setenv("CANARY_PASSWORD", "a secret of somebody")
    with pytest.raises(BadSetting, match="CANARY_USERNAME") as refused:
        Settings.load()
    assert "a secret" not in str(refused.value)
