"""The gateway's metrics, declared before they are used. Each says what a rise means; no label carries an id."""

from prometheus_client import Counter, Gauge, Histogram

from chassis.metrics import FAST_BUCKETS, Spread, Spreads, Tallies, Tally, start_at_zero
from protocol.client import REQUESTS
from protocol.codes import DISCONNECTS, DisconnectCode

TRANSPORTS = ("websocket", "http_stream", "sse")
CLOSED_BY_CLIENT = {
    1000: "client",
    1001: "client",
    1005: "client",
    1006: "network",
    1002: "framing",
    1007: "framing",
    1009: "too_big",
}
"""Close codes that are not our choice, with the cause as `disconnects` names it."""

connections = Gauge(
    "parley_connections",
    "Connections open now; a fall without a deploy means clients are being lost.",
    ["transport"],
    multiprocess_mode="livesum",
)
connections_limit = Gauge(
    "parley_connections_limit",
    "Connections that the processes behind this address may hold together (MAX_CONNECTIONS each).",
    multiprocess_mode="livesum",
)
accepted = Counter(
    "parley_connections_accepted",
    "Connections accepted, by transport; a rise without more users means clients reconnect, one of others than "
    "websocket that something on the way breaks WebSockets.",
    ["transport"],
)
refused = Counter(
    "parley_connections_refused",
    "Handshakes refused before accept, by reason; a rise means bad credentials, foreign pages, a full process, or an "
    "address with too many connections that have not said who they are (strangers).",
    ["reason"],
)
emulated = Counter(
    "parley_emulated_frames",
    "Frames posted by clients of HTTP streams, by result (here, passed_on, gone, unavailable); a rise of gone means "
    "streams are being lost.",
    ["result"],
)
authenticated = Counter(
    "parley_authentications",
    "Connect and refresh commands, by result; a rise of anything but ok means token trouble.",
    ["result"],
)
disconnects = Counter(
    "parley_disconnects",
    "Connections ended, by close code and cause; a rise names its own reason (slow, no_pong, network, shutdown ...).",
    ["code", "cause"],
)
connection_seconds = Histogram(
    "parley_connection_duration_seconds",
    "How long connections lasted; a shift to the left means something cuts them early.",
    buckets=(1, 5, 15, 60, 300, 900, 3600, 14400, 86400),
)
subscriptions = Gauge(
    "parley_subscriptions",
    "Subscriptions of clients now; grows with connections and open rooms.",
    multiprocess_mode="livesum",
)
channels = Gauge(
    "parley_channels_followed",
    "Channels followed by gateway processes now; each costs a NATS subscription and a ring of recent events.",
    multiprocess_mode="livesum",
)
commands = Counter(
    "parley_commands",
    "Commands of clients, by method and result code (0 is success); a rise of other codes means refusals.",
    ["method", "result"],
)
command_seconds = Histogram(
    "parley_command_duration_seconds",
    "Time from taking a command to its reply, by method; a rise means NATS or the chat service is slow.",
    ["method"],
    buckets=FAST_BUCKETS,
)
asked = Counter(
    "parley_chat_asked",
    "Commands handed to the chat service, by route: own (to the process of the room) or any; a rise of "
    "any means that processes come and go, or are not heard.",
    ["route"],
)
messages_in = Counter("parley_messages_in", "Frames received from clients; a rise is more traffic or a flood.")
bytes_in = Counter("parley_bytes_in", "Bytes of frames received from clients; a rise is more traffic or a flood.")
messages_out = Counter("parley_messages_out", "Replies and pushes put on sockets; grows with senders times members.")
frames_out = Counter("parley_frames_out", "Frames written to sockets; fewer than messages out when batches form.")
bytes_out = Counter("parley_bytes_out", "Bytes of frames written to sockets; the gateway's share of network cost.")
fanout_seconds = Histogram(
    "parley_fanout_duration_seconds",
    "Work of one flush: writing what waits in a channel to all its followers here; a rise means larger rooms.",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
stage_seconds = Histogram(
    "parley_delivery_stage_seconds",
    "Delivery latency by stage: stored (a gateway took the command, to acknowledged), fanned_out (NATS stored it, to "
    "written to the sockets here), total (the chat service accepted it, to written to the sockets here).",
    ["stage"],
    buckets=FAST_BUCKETS,
)
stored = Spread(stage_seconds.labels("stored"))
fanned_out = Spread(stage_seconds.labels("fanned_out"))
delivered = Spread(stage_seconds.labels("total"))
overflows = Counter(
    "parley_queue_overflows",
    "Queues that were full, by queue; each ended a connection or was repaired from the log.",
    ["queue"],
)
recoveries = Counter(
    "parley_recoveries",
    "Subscriptions that asked to recover, by result; a rise of not_recovered means clients must reload history.",
    ["result"],
)
recovered_publications = Counter(
    "parley_recovered_publications", "Missed events handed to recovering clients; a rise follows disconnects."
)
gaps = Counter(
    "parley_gaps",
    "Gaps seen between log and live feed, by outcome; a rise means NATS drops messages to this process.",
    ["outcome"],
)
presence_swept = Counter(
    "parley_presence_swept", "Presence entries removed for gateways that died; a rise means gateways are being killed."
)
key_fetches = Counter(
    "parley_key_fetches",
    "Fetches of signing keys, by result; failures mean the auth service cannot be reached.",
    ["result"],
)
revocation_seconds = Histogram(
    "parley_revocation_to_close_seconds",
    "Time from the end of a session, a membership, an account (ban) or a signing key to the end of its sockets or "
    "subscriptions here; a rise means sockets outlive logout.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
)
api_requests = Counter(
    "parley_api_requests",
    "Server API requests, by method and result (ok, an error code, or why it was not looked at); a rise of "
    "unauthorized means somebody tries keys, of 503 that NATS is slow or away.",
    ["method", "result"],
)
api_seconds = Histogram(
    "parley_api_request_duration_seconds",
    "Time from a server API request to its answer, by method; a rise means NATS is slow or broadcasts are large.",
    ["method"],
    buckets=FAST_BUCKETS,
)
orders = Counter(
    "parley_control_orders",
    "Orders of the server API that reached this process, by kind; a rise means the API is used more.",
    ["kind"],
)
bad_frames = Counter("parley_bad_frames", "Frames that could not be decoded; a rise means a broken or hostile client.")
unread = Counter(
    "parley_stalls", "Clients that left their socket unread; a rise means slow networks or too much traffic for them."
)
draining = Gauge(
    "parley_draining",
    "Processes that are on their way out since SIGTERM; for longer than the drain takes means that they do not end.",
    multiprocess_mode="livesum",
)
drain_remaining = Gauge(
    "parley_drain_remaining",
    "Connections of processes on their way out; falls to 0 over GATEWAY_DRAIN_SECONDS, or clients are cut off at once.",
    multiprocess_mode="livesum",
)
drain_closed = Counter(
    "parley_drain_closed",
    "Connections asked to go elsewhere, one by one, because their process ends; a rise means a deploy or a scale-in.",
)
drain_forced = Counter(
    "parley_drain_forced",
    "Connections closed all at once at the end of a process; any rise means it was told to hurry.",
)
rebalanced = Counter(
    "parley_rebalanced",
    "Connections asked to go elsewhere because their process had far more than the others; a rise without end means "
    "that the load balancer sends them back.",
)
to_mean = Gauge(
    "parley_connections_to_mean_ratio",
    "Connections of the fullest process here as a ratio to the mean of all gateway processes; a rise above 1 plus "
    "REBALANCE_MARGIN means that new connections are spread unevenly.",
    multiprocess_mode="livemax",
)


def cause_of(code: int) -> str:
    """Return what `disconnects` calls an ending of the catalogue."""
    return DISCONNECTS[code].reason.replace(" ", "_")


def ending(ended: DisconnectCode | None, code: int) -> tuple[str, str]:
    """Return code and cause of an end for `disconnects`: `ended` is ours, if it was, and `code` the peer's or 1006.

    Of known ones only, for the server API makes up others.
    """
    if ended is not None:
        known = ended.code in DISCONNECTS
        return (str(ended.code), cause_of(ended.code)) if known else ("custom", "custom")
    cause = CLOSED_BY_CLIENT.get(code)
    return (str(code), cause) if cause else ("other", "client")


for _by_transport in (connections, accepted):
    start_at_zero(_by_transport, *TRANSPORTS)
start_at_zero(refused, "full", "strangers", "draining", "unavailable")
start_at_zero(refused, "foreign_origin", "invalid_token", "invalid_ticket")
start_at_zero(emulated, "here", "passed_on", "gone", "unavailable")
start_at_zero(
    authenticated,
    "ok",
    "token_expired",
    "invalid_token",
    "session_revoked",
    "account_banned",
    "bad_request",
    "unavailable,_retry",
)
start_at_zero(disconnects, *((str(code), cause) for code, cause in CLOSED_BY_CLIENT.items()))
start_at_zero(disconnects, *((str(code), cause_of(code)) for code in DISCONNECTS if code >= 3000))
start_at_zero(commands, *((request, "0") for request in REQUESTS))
# What the objective of sends counts against us: a first failure must be seen as an increase.
start_at_zero(commands, *((request, error) for request in ("publish", "rpc") for error in ("100", "503")))
start_at_zero(overflows, "outbox", "commands", "presence", "repair", "newcomers")
start_at_zero(recoveries, "recovered", "not_recovered")
start_at_zero(gaps, "seen", "repaired", "lost")
start_at_zero(key_fetches, "ok", "failed")
start_at_zero(asked, "own", "any")
start_at_zero(orders, "disconnect", "unsubscribe", "tell")


# What happens with each message, gathered (chassis/metrics.py).
frames_received = Tally(messages_in)
octets_received = Tally(bytes_in)
_messages_written = Tally(messages_out)
_frames_written = Tally(frames_out)
_octets_written = Tally(bytes_out)
flush_cost = Spread(fanout_seconds)
_answered = Tallies(commands)
chat_asked = Tallies(asked)
_durations = Spreads(command_seconds)


def written(messages: int, frames: int, octets: int) -> None:
    """Count what was put on sockets."""
    _messages_written.waiting += messages
    _frames_written.waiting += frames
    _octets_written.waiting += octets


def answered(method: str, result: str, seconds: float) -> None:
    """Count a command that was carried out; `method` and `result` are names and codes of the catalogue."""
    _answered.of(method, result).waiting += 1
    _durations.of(method).observe(seconds)
