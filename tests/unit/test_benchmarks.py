"""What `make bench` does with figures: keeps them, judges them, writes them down."""

from pathlib import Path

from benchmarks import page
from benchmarks.aims import judged
from benchmarks.costs import sized
from benchmarks.generator import Failed, Template
from benchmarks.results import Result, Results, spreads
from benchmarks.rows import BY_NAME, ROWS
from benchmarks.servers import Server
from benchmarks.session import Measured, Session

WORSE, BETTER = {"cpu_us": 8.0}, {"cpu_us": 0.4}


def results(**figures: list[Measured]) -> Results:
    """Return the row of the large room, measured on servers named by the keywords (with spaces for underscores)."""
    found = spreads({name.replace("_", " "): runs for name, runs in figures.items()})
    return Results({"processor": "2 x something"}, {"room": Result("today", 60, 0.1, 3, found)})


def test_medians_and_ranges() -> None:
    """Of each figure the median is kept, and the range."""
    spread = spreads({"Parley": [{"cpu_us": value} for value in (3.0, 1.0, 2.0)]})["Parley"]["cpu_us"]
    assert (spread.median, spread.least, spread.most) == (2.0, 1.0, 3.0)


def test_kept_results_come_back(tmp_path: Path) -> None:
    """What was kept is read as it was, failures included; each figure is a line of the file."""
    kept = results(Parley=[BETTER, WORSE])
    kept.rows["room"].failed["nchan"] = "nchan is missing: apt-get install it"
    kept.keep(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == kept
    assert '"cpu_us": [4.2, 0.4, 8.0]' in (tmp_path / "results.json").read_text()


def test_nothing_was_measured_yet(tmp_path: Path) -> None:
    """Without a file there are no rows."""
    assert Results.load(tmp_path / "results.json").rows == {}


def test_aims_are_judged() -> None:
    """Each aim says what was measured and whether that reaches it; one without its peer is not reached."""
    found = {aim.aim: aim for aim in judged(results(Parley=[BETTER], Node_ws=[WORSE]))}
    assert found["at least 10 x Node ws"].reached
    assert found["at least 10 x Node ws"].measured == "20.0 x"
    missing = [aim for aim in found.values() if aim.measured.startswith("not measured")]
    assert [aim.reached for aim in missing] == [False]
    found = {aim.aim: aim for aim in judged(results(Parley=[WORSE], Node_ws=[BETTER]))}
    assert not found["at least 10 x Node ws"].reached


def test_a_row_says_how_fast_the_processor_was() -> None:
    """As a share of its best; a row of before that was looked at says nothing."""
    kept = results(Parley=[BETTER])
    assert not any("of its best" in line for line in page.body(kept, {}).splitlines())
    kept.rows["room"].pace = 0.55
    assert any(line.endswith(", processor at 55% of its best.") for line in page.body(kept, {}).splitlines())


def test_failures_are_in_the_table() -> None:
    """A server that could not be had is a line of its row, with the reason."""
    kept = results(Parley=[BETTER])
    kept.rows["room"].failed["nchan"] = "nchan is missing:\napt-get install it"
    lines = page.body(kept, {"room": "bench-room.svg"}).splitlines()
    assert any(line.startswith("| nchan | **failed**: nchan is missing: apt-get install it |") for line in lines)
    widths = {line.count("|") for line in lines if line.startswith(("| Parley", "| nchan"))}
    assert widths == {len(BY_NAME["room"].columns) + 2}
    assert f"![{BY_NAME['room'].title}](images/bench-room.svg)" in lines


def test_a_busy_machine_is_told() -> None:
    """The page says when others worked on the machine."""
    kept = results(Parley=[BETTER])
    assert "Others had work" not in page.body(kept, {})
    kept.rows["room"].load_before = 2.5
    assert "Others had work" in page.body(kept, {})


def test_a_server_that_breaks_is_left_out() -> None:
    """The others are measured to the end; what broke is named with its reason, and its runs do not count."""
    with Session(repeats=2) as session:
        for name in ("good", "bad"):
            session.running[name] = Server(name, Template(1), ())
        ran: list[str] = []

        def measure(server: Server) -> Measured:
            ran.append(server.name)
            if server.name == "bad" and ran.count("bad") == 2:
                raise Failed("it broke")
            return {"cpu_us": 1.0}

        runs = session.interleaved("load", measure)
    assert runs == {"good": [{"cpu_us": 1.0}] * 2}
    assert session.failed == {"bad": "it broke"}
    assert ran == ["good", "bad", "bad", "good"]  # the second round begins with another one


def test_some_are_measured_once() -> None:
    """Who is slow to connect has its turn in the first round alone."""
    with Session(repeats=3, once=["slow"]) as session:
        session.running = {name: Server(name, Template(1), ()) for name in ("slow", "fast")}
        runs = session.interleaved("load", lambda server: {"cpu_us": 1.0})
    assert {name: len(found) for name, found in runs.items()} == {"slow": 1, "fast": 3}


def test_every_row_has_a_name_of_its_own() -> None:
    """`make bench ROWS=...` finds each row."""
    assert len(BY_NAME) == len(ROWS)


def test_sizes_follow_from_costs() -> None:
    """More connections, and higher costs, need more gateways."""
    cost = {"write": 8.0, "joined": 0.4, "heard": 70.0, "sent": 400.0, "decided": 800.0, "stored": 400.0}
    cost |= {"connect": 1000.0, "rest": 8.0}
    small, large = sized(100_000, cost), sized(200_000, cost)
    assert large.messages == 2 * small.messages
    assert large.gateways > small.gateways
    assert large.reached > small.reached
    assert (
        sized(1_000_000, {name: 2 * value for name, value in cost.items()}).gateways > sized(1_000_000, cost).gateways
    )
