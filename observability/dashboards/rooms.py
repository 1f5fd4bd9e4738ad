"""Rooms: what comes in, what goes out, and how often one event is multiplied on its way."""

from observability.dashboards.model import Dashboard, Query, Row, heat, lines, number
from observability.dashboards.queries import buckets, each, quantile, quantiles, rate, share, total

_IN = "parley_messages_in_total"
_OUT = "parley_messages_out_total"
_FRAMES = "parley_frames_out_total"
_EVENTS = "parley_fanout_duration_seconds_count"

_NOW = Row(
    "Now",
    (
        number("Frames in", "Frames received from clients, per second.", "ops", rate(_IN), decimals=1),
        number("Messages out", "Replies and pushes put on sockets, per second.", "ops", rate(_OUT), decimals=1),
        number(
            "Fan-out factor",
            "Messages out for each event that a gateway handed out. It grows with the members of a room who are "
            "online.",
            "none",
            share(rate(_OUT), rate(_EVENTS)),
            decimals=1,
        ),
        number(
            "Messages per frame",
            "Messages that share a frame. It grows when much happens at once: batching at work.",
            "none",
            share(rate(_OUT), rate(_FRAMES)),
            decimals=2,
        ),
        number(
            "Channels followed",
            "Channels that gateway processes follow; each costs a NATS subscription and a ring of recent events.",
            "short",
            total("parley_channels_followed"),
        ),
        number(
            "Subscriptions",
            "Subscriptions of clients. It grows with connections and open rooms.",
            "short",
            total("parley_subscriptions"),
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        lines(
            "Frames in and messages out",
            "What clients send and what they get. Out grows with senders times members; in alone grows in a flood.",
            "ops",
            [Query(rate(_IN), "frames in"), Query(rate(_OUT), "messages out"), Query(rate(_FRAMES), "frames out")],
        ),
        lines(
            "Bytes",
            "The gateways' share of the network's cost.",
            "Bps",
            [Query(rate("parley_bytes_in_total"), "in"), Query(rate("parley_bytes_out_total"), "out")],
        ),
        lines(
            "Messages out by gateway",
            "One line far above the others means that a large room sits on that gateway.",
            "ops",
            [Query(rate(_OUT, "instance"), "{{instance}}")],
        ),
    ),
)

_FANOUT = Row(
    "Fan-out",
    (
        lines(
            "Fan-out factor",
            "Messages out for each event handed out. A rise means larger rooms, and costs processor time.",
            "none",
            [Query(share(rate(_OUT), rate(_EVENTS)), "messages per event")],
        ),
        lines(
            "Messages per frame",
            "How well batching works. A fall to 1 under load means each message costs a write of its own.",
            "none",
            [Query(share(rate(_OUT), rate(_FRAMES)), "messages per frame")],
        ),
        lines(
            "Time to hand out one event",
            "To every local subscriber. A rise means larger rooms or a busy process; all others of it wait meanwhile.",
            "s",
            quantiles("parley_fanout_duration_seconds"),
        ),
        heat(
            "Time to hand out one event, as a distribution",
            "A second band is a large room beside many small ones.",
            "s",
            buckets("parley_fanout_duration_seconds"),
        ),
        lines(
            "Channels and subscriptions",
            "What gateways follow and what clients are subscribed to. Channels that grow without subscriptions are "
            "empty rooms that are not let go.",
            "short",
            [
                Query(total("parley_channels_followed"), "channels followed"),
                Query(total("parley_subscriptions"), "subscriptions"),
            ],
        ),
        lines(
            "Subscriptions per connection",
            "Open rooms of a client, its own channel among them. A rise without a new page means a client subscribes "
            "in a loop.",
            "none",
            [Query(share(total("parley_subscriptions"), total("parley_connections")), "subscriptions")],
        ),
    ),
)

_CHAT = Row(
    "Rooms in the chat service",
    (
        lines(
            "Commands",
            "Commands answered by the chat service, by method.",
            "ops",
            [Query("sum by (method) (parley:chat_commands:rate5m)", "{{method}}")],
        ),
        lines(
            "Commands by result",
            "By result: ok, or the refusal's code. A rise of 503 means sends are refused.",
            "ops",
            [Query("sum by (result) (parley:chat_commands:rate5m)", "{{result}}")],
            alerts=("ParleyChatRefuses",),
        ),
        lines(
            "Time to answer, 99th percentile",
            "Waiting included. A rise means a slow disk under NATS, a busy room or a slow database.",
            "s",
            [Query("parley:chat_command_duration_seconds:p99_5m", "{{method}}")],
        ),
        lines(
            "Conflicts and duplicates",
            "Appends that lost the race for an offset: a rise means replicas compete for one room. Messages sent "
            "again: a rise means acknowledgements get lost.",
            "ops",
            [
                Query("sum(rate(parley_chat_conflicts_total[$__rate_interval]))", "conflicts"),
                Query(
                    "sum by (known_by) (rate(parley_chat_duplicates_total[$__rate_interval]))",
                    "duplicates known by {{known_by}}",
                ),
            ],
            alerts=("ParleyAppendConflicts",),
        ),
        lines(
            "Commands by which process was asked",
            "Each room has its process of the chat service. A rise of any means that processes come and go, or that "
            "gateways do not hear them: then several write to one room, and are in each other's way.",
            "ops",
            [Query("sum by (route) (rate(parley_chat_asked_total[$__rate_interval]))", "{{route}}")],
            alerts=("ParleyAppendConflicts",),
        ),
        lines(
            "Room states",
            "In memory, and read anew per second. Many reads at a full cache mean CHAT_ROOMS_CACHED is too small.",
            "short",
            [
                Query("sum(parley_chat_rooms_cached)", "in memory"),
                Query("sum(rate(parley_chat_room_loads_total[$__rate_interval]))", "loads per second"),
            ],
        ),
        lines(
            "Commands in work",
            "At CHAT_IN_FLIGHT per process further ones are refused; those are shown too.",
            "short",
            [
                Query("sum(parley_chat_in_flight_commands)", "in work"),
                Query("sum(rate(parley_chat_overflow_total[$__rate_interval]))", "refused per second"),
            ],
            alerts=("ParleyChatOverflow",),
        ),
    ),
)

_API = Row(
    "Server API",
    (
        lines(
            "Requests by result",
            "A rise of unauthorized means somebody tries keys, of 503 that NATS is slow or away.",
            "reqps",
            each("parley_api_requests_total", "result"),
            alerts=("ParleyApiKeyGuessing",),
        ),
        lines(
            "Time to answer, 99th percentile",
            "By method. A rise means NATS is slow or broadcasts are large.",
            "s",
            [Query(quantile(0.99, "parley_api_request_duration_seconds", "method"), "{{method}}")],
        ),
        lines(
            "Orders that reached gateways",
            "What the server API had gateways do, by kind. A rise means it is used more.",
            "ops",
            each("parley_control_orders_total", "kind"),
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-rooms",
    "Parley: rooms and fan-out",
    "What comes in, what goes out, and how often one event is multiplied.",
    "parley_messages_in_total",
    (_NOW, _TRAFFIC, _FANOUT, _CHAT, _API),
)
