"""The canary's metrics. A description says what a rise means; no label carries an id."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from chassis import metrics as of_every_service

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The promise is half a second; what is above a few seconds is an outage, and how long it was."""
SEND_FAILURES = ("unavailable", "timeout", "disconnected", "internal", "too_many_requests", "no_room", "refused")
SIGN_IN_FAILURES = ("unreachable", "unavailable", "too_many_requests", "credentials", "refused")
RESUMPTIONS = ("recovered", "reloaded")

sent = Counter(
    "parley_canary_sent",
    "Messages acknowledged; standing still means that nobody can send.",
)
received = Counter(
    "parley_canary_received",
    "Messages received, by all receivers together; it grows by CANARY_RECEIVERS for each message sent.",
)
lost = Counter(
    "parley_canary_lost",
    "Acknowledged messages that did not reach a connected receiver in time; any rise is a broken promise.",
)
duplicated = Counter(
    "parley_canary_duplicated",
    "Messages that reached a receiver again; any rise is a broken promise.",
)
reordered = Counter(
    "parley_canary_reordered",
    "Messages that reached a receiver after a later one; any rise is a broken promise.",
)
late = Counter(
    "parley_canary_late",
    "Messages that reached a receiver after they were counted as lost; they stay counted there.",
)
reloaded = Counter(
    "parley_canary_reloaded",
    "Messages that a receiver was told to read from the history and found there; a rise means recoveries fail.",
)
unjudged = Gauge(
    "parley_canary_unjudged",
    "Messages forgotten before they could be judged, because a receiver was away for too long.",
)
send_failures = Counter(
    "parley_canary_send_failures",
    "Attempts to send that were not acknowledged, by reason; each is repeated with the same id. "
    "A rise means users see sends fail.",
    ["reason"],
)
sign_in_failures = Counter(
    "parley_canary_sign_in_failures",
    "Attempts to get a token that failed, by reason; a rise means users cannot sign in, or a wrong CANARY_PASSWORD.",
    ["reason"],
)
reconnects = Counter(
    "parley_canary_reconnects",
    "Connections made again after a loss, those it gave up itself not counted; a rise means clients lose theirs.",
)
resumptions = Counter(
    "parley_canary_resumptions",
    "Subscriptions resumed, by result; a rise of reloaded means missed messages were not given but had to be read.",
    ["result"],
)
connected = Gauge(
    "parley_canary_connected",
    "1 while the sender and every receiver are connected, or away because they want to be; 0 means a client is out.",
)
latency = Histogram(
    "parley_canary_latency_seconds",
    "Time from the first attempt to send a message until a receiver had it, both through the public address; "
    "a rise means users wait.",
    buckets=LATENCY_BUCKETS,
)
last_received = Gauge(
    "parley_canary_last_received_timestamp_seconds",
    "When a receiver last got a message, in seconds since the epoch; standing still means nothing is delivered.",
)

for _reason in SEND_FAILURES:
    send_failures.labels(_reason)
for _reason in SIGN_IN_FAILURES:
    sign_in_failures.labels(_reason)
for _result in RESUMPTIONS:
    resumptions.labels(_result)


def leave_out_nats() -> None:
    """Take the figures about NATS off this process's page: it has no such connection, and 0 looks like a loss."""
    for metric in (of_every_service.nats_connected, of_every_service.nats_reconnects, of_every_service.nats_errors):
        REGISTRY.unregister(metric)
