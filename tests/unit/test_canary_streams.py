"""The canary's judgement of any streams: every fault is noticed once, and honest streams never are."""

from hypothesis import given
from hypothesis import strategies as st

from canary.ledger import Ledger
from tests.unit.canary_world import LOST_AFTER, World

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
