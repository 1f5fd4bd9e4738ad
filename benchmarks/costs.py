"""What one of each thing costs, from the rows that were measured, and what that makes of whole deployments.

The sizes are arithmetic on measured costs, not measurements: nobody has run ten million connections here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.aims import OURS
from benchmarks.results import Results

MEMBERS = 50
"""Members online of the room of an average message."""
SILENCE_SECONDS = 100
"""How long an average client is silent between two messages."""
BUSY = 0.6
"""How much of a core a gateway process may use (docs/operations/sizing.md), so that there is room for a storm."""
MOST_CONNECTIONS = 10_000
"""Connections of one gateway process, half of MAX_CONNECTIONS: those of another may come as well."""
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Cost:
    """The cost of one thing, the row and figure that tell it."""

    name: str
    what: str
    row: str
    label: str
    key: str
    unit: str
    inverse: float = 0
    """When the figure is a rate: what divided by it is the cost."""
    form: str = ",.0f"

    def value(self, results: Results) -> float | None:
        """Return the cost; nothing when it was not measured."""
        row = results.rows.get(self.row)
        found = row.median(self.label, self.key) if row else None
        return self.inverse / found if found and self.inverse else found


COSTS = (
    Cost("write", "a delivery that is a write of its own", "single", OURS, "cpu_us", "µs of a gateway", form=".1f"),
    Cost("joined", "a delivery of a saturated room of 1,000", "room", OURS, "cpu_us", "µs of a gateway", form=".2f"),
    Cost("heard", "a message said elsewhere, and one write", "gateways", OURS, "heard_us", "µs of a gateway"),
    Cost(
        "sent", "a message taken, durable, and two writes", "durable", "500/s offered", "gateway_us", "µs of a gateway"
    ),
    Cost("decided", "a message decided and archived", "durable", "500/s offered", "chat_us", "µs of the chat service"),
    Cost("stored", "a message stored and synced", "durable", "500/s offered", "nats_us", "µs of NATS"),
    Cost("connect", "a connect, verified, with a room", "idle", OURS, "connects_per_core_s", "µs of a gateway", 1e6),
    Cost("rest", "a connection at rest", "idle", OURS, "idle_kib", "KiB of a gateway", form=".1f"),
)


def told(results: Results) -> Iterator[str]:
    """Yield the lines of the table of costs, and of the sizes that follow from them."""
    values = {cost.name: cost.value(results) for cost in COSTS}
    yield "### What one of each costs"
    yield ""
    yield "| name | what | cost | row |"
    yield "|---|---|---|---|"
    for cost in COSTS:
        value = values[cost.name]
        text = "not measured" if value is None else f"{value:{cost.form}} {cost.unit}"
        yield f"| {cost.name} | {cost.what} | {text} | `{cost.row}` |"
    yield ""
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) == len(COSTS):
        yield from _sizes(known)


def _sizes(cost: dict[str, float]) -> Iterator[str]:
    yield "### What that makes of a deployment"
    yield ""
    yield (
        f"Arithmetic on the costs above. A message goes to {MEMBERS} members online; each client says something every "
        f"{SILENCE_SECONDS} s; a gateway process has at most {MOST_CONNECTIONS:,} connections and uses at most "
        f"{BUSY:.0%} of a core, and there is one more than needed. Chat-service processes and NATS at the same share."
    )
    yield ""
    yield (
        "| connections | messages/s | deliveries/s | gateways that hear each | gateway processes | GiB at rest | "
        "chat-service processes | cores for NATS's leaders | all back after a cut, s |"
    )
    yield "|---" * 9 + "|"
    for connections in SIZES:
        size = sized(connections, cost)
        yield (
            f"| {connections:,} | {size.messages:,.0f} | {size.deliveries:,.0f} | {size.reached:.1f} "
            f"| {size.gateways:,} | {size.gib:,.2f} | {size.chat:,} | {size.nats_cores:,.1f} "
            f"| {size.back_seconds:,.0f} |"
        )
    yield ""


@dataclass(frozen=True)
class Size:
    """What so many connections need."""

    messages: float
    deliveries: float
    reached: float
    gateways: int
    gib: float
    chat: int
    nats_cores: float
    back_seconds: float


def sized(connections: int, cost: dict[str, float]) -> Size:
    """Return what `connections` need, by the costs of one (µs and KiB, named as in `COSTS`)."""
    messages = connections / SILENCE_SECONDS
    deliveries = messages * MEMBERS
    gateways = least = -(-connections // MOST_CONNECTIONS)
    while True:
        # So many of the gateways have a member of a room, when members come to any gateway alike.
        reached = gateways * (1 - (1 - 1 / gateways) ** MEMBERS)
        each = cost["sent"] + reached * (cost["heard"] - cost["write"]) + MEMBERS * cost["write"]
        needed = max(least, int(messages * each / 1e6 / BUSY) + 1)
        if needed <= gateways:
            break
        gateways = needed
    return Size(
        messages,
        deliveries,
        reached,
        gateways + 1,
        connections * cost["rest"] / 2**20,
        max(2, int(messages * cost["decided"] / 1e6 / BUSY) + 1),
        messages * cost["stored"] / 1e6,
        connections * cost["connect"] / 1e6 / (gateways + 1),
    )
