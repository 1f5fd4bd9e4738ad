"""The rows of `make bench`: who is measured with what. A row runs alone, with servers started for it."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import special
from benchmarks.gateways import WORKERS, hearing
from benchmarks.generator import Work
from benchmarks.ours import parley, single
from benchmarks.servers import PEERS_BY_NAME
from benchmarks.session import Measured, Session, fan_out, idle
from benchmarks.works import UNJOINED, one_at_a_time, room, small_rooms, steady

OURS = "Parley"
LEAST = ("least Python", "least Python, NATS")
FOUND = ("Centrifugo",) if shutil.which("centrifugo") else ()
"""A peer that comes from none of the registries that the others come from: measured where it is there."""
ALL = tuple(name for name in PEERS_BY_NAME if name not in LEAST and (name != "Centrifugo" or FOUND))
FAST = tuple(name for name in ALL if name != "Django Channels")
"""Those that can do what the row asks for."""
SLOW_TO_CONNECT = ("python-socketio", "FastAPI tutorial", "Django Channels", "nats-server ws")
Runs = dict[str, list[Measured]]


@dataclass(frozen=True)
class Column:
    """A figure of a table: its key, what stands above it, and how it is written."""

    key: str
    heading: str
    form: str = ".2f"


@dataclass(frozen=True)
class Row:
    """One line of work of the comparison."""

    name: str
    title: str
    says: str
    columns: tuple[Column, ...]
    peers: Sequence[str]
    measure: Callable[[Session], Runs]
    ours: Callable[[Session], None] = lambda session: session.start(OURS, parley)
    """How Parley is started."""
    connections: int = 5000
    once: Sequence[str] = ()
    """Peers that are measured once, because connecting alone takes them long."""
    repeats: int = 99
    """The most repeats that make sense."""


PER_CORE = Column("per_core_k", "k deliveries per core-second", ".0f")
COST = Column("cpu_us", "CPU µs per delivery")
KERNEL = Column("kernel_us", "of that in the kernel")
SEEN = Column("seen_k", "k deliveries/s seen", ".0f")
P50, P99 = Column("p50_ms", "p50 ms", ".1f"), Column("p99_ms", "p99 ms", ".1f")
CORES = (
    Column("server_cores", "server's core"),
    Column("broker_cores", "broker's"),
    Column("generator_cores", "generator's"),
)
ACKNOWLEDGED = (
    Column("acknowledged_per_s", "acknowledged/s", ",.0f"),
    Column("ack_p50_ms", "send to ack p50 ms", ".1f"),
    Column("ack_p99_ms", "send to ack p99 ms", ".1f"),
)
REFUSED = Column("refused", "refused", ".0f")
SATURATED = (PER_CORE, COST, KERNEL, SEEN, *CORES)
PACED = (P50, P99, COST, *CORES)


def _load(work: Work, how: Callable[[Work], Callable[..., Measured]] = fan_out) -> Callable[[Session], Runs]:
    def measure(session: Session) -> Runs:
        session.warm()
        return session.interleaved("load", how(work))

    return measure


def _idle(session: Session) -> Runs:
    return session.interleaved("idle", partial(idle, connections=10_000))


def _members(session: Session) -> Runs:
    """Parley alone, a write for each delivery, in rooms of several sizes."""
    session.warm()
    found: Runs = {}
    for members in (1, 5, 50, 500, 5000):
        work = Work(5000, rooms=5000 // members, senders=min(1000, 5000 // members), flight=1, seconds=3)
        runs = session.interleaved(f"rooms of {members}", single(work))
        found |= {f"rooms of {members}": one for one in runs.values()}
    return found


ROWS = (
    Row(
        "room",
        "One room of 1,000, saturated",
        "32 messages of 128 bytes are under way all the time.",
        SATURATED,
        ALL,
        _load(room(1000)),
    ),
    Row(
        "room5000",
        "One room of 5,000, saturated",
        "The same in a larger room. The slowest to connect are measured once.",
        SATURATED,
        ALL,
        _load(dataclasses.replace(room(5000), warm=4)),  # python-socketio takes in all 32 before it sends one
        once=SLOW_TO_CONNECT,
    ),
    Row(
        "small",
        "1,000 rooms of 5, saturated",
        "One message is under way in each room. The slowest to connect are measured once.",
        SATURATED,
        (*FAST, *LEAST),
        _load(small_rooms(1000)),
        once=SLOW_TO_CONNECT,
    ),
    Row(
        "steady",
        "10,000 deliveries a second in a room of 1,000",
        "10 messages a second, each at its time whatever comes back.",
        PACED,
        FAST,
        _load(steady(1000)),
    ),
    Row(
        "single",
        "A write for each delivery, in a room of 1,000",
        "One message is under way, and the gateway lets nothing wait for others (`FLUSH_SECONDS` of 1 µs).",
        (COST, KERNEL, SEEN, Column("per_frame", "deliveries per frame"), *CORES),
        ("Node ws", "FastAPI tutorial", "C send(2)", "least Python"),
        _load(one_at_a_time(1000), single),
        ours=lambda session: session.start(OURS, partial(parley, UNJOINED)),
    ),
    Row(
        "offered",
        "1.5 million deliveries a second offered to one room of 1,000",
        "1,500 messages a second, each at its time.",
        (SEEN, *PACED),
        ("nats-server ws", *FOUND),
        _load(dataclasses.replace(steady(1000, deliveries=1_500_000), warm=2)),
    ),
    Row(
        "idle",
        "10,000 idle connections, and making them",
        "Parley's are authenticated, each follows one room of five with recovery; the others' are bare handshakes. "
        "Memory is of the process's own pages, without the kernel's buffers.",
        (
            Column("idle_kib", "KiB each", ".1f"),
            Column("base_mib", "MiB before", ".0f"),
            Column("connects_per_core_s", "connects per core-second", ",.0f"),
            Column("connects_per_s", "connects/s seen", ",.0f"),
        ),
        ALL,
        _idle,
        connections=10_000,
        repeats=1,
    ),
    Row(
        "storm",
        "10,000 clients cut off at once",
        "They come back, 512 handshakes at a time, prove who they are and recover what they missed in 1,000 rooms; "
        "1,000 others in the same rooms stay, and hear 200 messages a second. Gateway, NATS, generator on two cores.",
        (
            Column("back_s", "all back and caught up, s", ".1f"),
            Column("back_p50_s", "half of them, s", ".1f"),
            Column("others_p50_ms", "others' p50 ms", ".1f"),
            Column("others_p99_ms", "others' p99 ms", ".0f"),
            Column("others_missed", "others' deliveries missed", ".0f"),
        ),
        (),
        special.storm,
        connections=11_000,
    ),
    Row(
        "slow",
        "One client that never reads, in a room of 50 others",
        "400 messages of 1,000 bytes a second, for 8 s; without and with the one.",
        (
            Column("delivered_percent", "delivered to the others, %", ".2f"),
            P50,
            P99,
            Column("grown_mib", "memory grown, MiB", ".1f"),
        ),
        ("Node ws", "FastAPI tutorial"),
        special.slow,
    ),
    Row(
        "beside",
        "A room of 5 beside a room of 5,000",
        "4 messages a second to the large one, 20 to the small one. Two peers are measured once.",
        (
            Column("small_p50_ms", "small room's p50 ms", ".1f"),
            Column("small_p99_ms", "small room's p99 ms", ".1f"),
            Column("large_p50_ms", "large room's p50 ms", ".1f"),
            Column("large_p99_ms", "large room's p99 ms", ".1f"),
        ),
        ("Node ws", "FastAPI tutorial", "nchan"),
        special.beside,
        once=("FastAPI tutorial", "nchan"),
    ),
    Row(
        "durable",
        "Durable messages, from client to client",
        "`message.send` in 200 rooms of two, answered when NATS has synced it (`sync_interval: always`). One process "
        "of each service, on both cores together with the generator.",
        (
            *ACKNOWLEDGED,
            Column("heard_p99_ms", "send to the other client p99 ms", ".1f"),
            REFUSED,
            Column("gateway_us", "gateway CPU µs each", ".0f"),
            Column("chat_us", "chat service CPU µs each", ".0f"),
            Column("nats_us", "NATS CPU µs each", ".0f"),
        ),
        (),
        special.durable,
        ours=lambda session: session.start(OURS, partial(parley, pinned=False)),
    ),
    Row(
        "processes",
        "Busy rooms, with one process of the chat service and with two",
        "Five talk at once in each of 40 rooms of ten, each when it has been answered. Each room has its process "
        "(ADR 22); all of it shares two cores with gateway, NATS and the generator.",
        (*ACKNOWLEDGED, REFUSED),
        (),
        special.processes,
        ours=lambda session: session.start(OURS, partial(parley, pinned=False)),
    ),
    Row(
        "members",
        "How the cost of a delivery falls with the members of a room",
        "5,000 clients in rooms of one size, one message under way in each of some; each delivery is a write.",
        (COST, SEEN, Column("message_us", "CPU µs per message", ".0f"), *CORES),
        (),
        _members,
        ours=lambda session: session.start(OURS, partial(parley, UNJOINED)),
        repeats=1,
    ),
    Row(
        "gateways",
        "What a message costs in a gateway that only hears it",
        "Two gateway processes: 60 rooms have their sender on one, and on the other a follower; ten messages at once.",
        (
            Column("sent_us", "CPU µs per message, where it is said", ".0f"),
            Column("heard_us", "CPU µs per message, where it is heard by one", ".0f"),
        ),
        (),
        hearing,
        ours=lambda session: session.start(OURS, partial(parley, WORKERS)),
    ),
)
BY_NAME = {row.name: row for row in ROWS}
