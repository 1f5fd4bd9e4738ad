"""The chat service's metrics. A description says what a rise means; no label carries an id."""

from prometheus_client import Counter, Gauge, Histogram

from chassis.metrics import FAST_BUCKETS, Spread, Spreads, Tallies, start_at_zero

commands = Counter(
    "parley_chat_commands",
    "Commands answered, by method and result (ok, or the refusal's code); a rise of 503 means sends are refused.",
    ["method", "result"],
)
command_duration = Histogram(
    "parley_chat_command_duration_seconds",
    "Time to answer a command, waiting included; a rise means a slow disk under NATS, a busy room, or a slow database.",
    ["method"],
    buckets=FAST_BUCKETS,
)
append_duration = Histogram(
    "parley_chat_append_seconds",
    "Time from handing a record to NATS until it was on disk; a rise means the disk under NATS is slow.",
    buckets=FAST_BUCKETS,
)
append_groups = Counter(
    "parley_chat_append_groups",
    "Groups of records offered with one sync of the disk, by result (stored, refused: then one by one, unknown); a "
    "rise of stored means more load, of refused that processes compete for rooms.",
    ["result"],
)
grouped_appends = Counter(
    "parley_chat_grouped_appends",
    "Records stored in such groups; over the stored groups, how many share a sync.",
)
conflicts = Counter(
    "parley_chat_conflicts",
    "Appends that lost the race for an offset and were decided again; a rise means replicas compete for one room.",
)
duplicates = Counter(
    "parley_chat_duplicates",
    "Repeated messages answered with their first receipt, by who knew them (memory, archive, nats); "
    "a rise means clients retry, so acknowledgements get lost.",
    ["known_by"],
)
in_flight = Gauge(
    "parley_chat_in_flight_commands",
    "Commands being worked on; at the limit of CHAT_IN_FLIGHT further ones are refused.",
    multiprocess_mode="livesum",
)
overflow = Counter(
    "parley_chat_overflow",
    "Commands refused because too many were in work; a rise means this process is overloaded.",
)
rooms_cached = Gauge(
    "parley_chat_rooms_cached",
    "Room states in memory; at CHAT_ROOMS_CACHED rooms are loaded anew each time they are used.",
    multiprocess_mode="livesum",
)
room_loads = Counter(
    "parley_chat_room_loads",
    "Room states read from archive and log; a fast rise means CHAT_ROOMS_CACHED is too small.",
)
gaps = Counter(
    "parley_chat_live_gaps",
    "Times the live subjects skipped a record, so that cached rooms are checked against the log; "
    "a rise means the connection to NATS loses messages.",
)
archive_position = Gauge(
    "parley_chat_archive_position",
    "Stream sequence up to which the archive has the log; standing still while the log grows means it is stuck.",
    multiprocess_mode="livemax",
)
archive_lag = Gauge(
    "parley_chat_archive_lag_records",
    "Records of the log not yet in the archive; a rise means the database is slow or away, and history lags.",
    multiprocess_mode="livemax",
)
archive_misfit = Gauge(
    "parley_chat_archive_misfit",
    "1 while the archive is not of the log that is there: history is refused until an operator restores or rebuilds.",
    multiprocess_mode="livemax",
)
archive_batches = Counter(
    "parley_chat_archive_batches",
    "Batches offered to the archive, by result (stored, or lost to another replica).",
    ["result"],
)
archive_records = Counter(
    "parley_chat_archive_records",
    "Records taken into the archive, by source: heard on the live subjects, or read from the log once more; a rise of "
    "log means that the archive is behind, or that the live subjects skip records.",
    ["source"],
)
archive_failures = Counter(
    "parley_chat_archive_failures",
    "Times the archiver had to wait and try again, by what was away; a rise means NATS or the database fails.",
    ["cause"],
)
poison = Counter(
    "parley_chat_poison_records",
    "Records of the log that could not be read and were skipped; any rise means something else wrote to the log.",
)

start_at_zero(duplicates, "memory", "archive", "nats")
start_at_zero(append_groups, "stored", "refused", "unknown")
start_at_zero(archive_batches, "stored", "lost")
start_at_zero(archive_records, "heard", "log")
start_at_zero(archive_failures, "log", "database")

# What happens with each command, gathered (chassis/metrics.py).
_answered = Tallies(commands)
_durations = Spreads(command_duration)
appended = Spread(append_duration)


def answered(method: str, result: str, seconds: float) -> None:
    """Count a command that was carried out or refused; `result` is `ok` or the refusal's code."""
    _answered.of(method, result).waiting += 1
    _durations.of(method).observe(seconds)


def group_offered(result: str, records: int) -> None:
    """Count a group of records, as `chassis.appends` tells what became of it."""
    append_groups.labels(result).inc()
    if result == "stored":
        grouped_appends.inc(records)
