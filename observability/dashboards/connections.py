"""Connections: who holds how many, who comes, who goes and why, and what a drain or a rebalance does."""

from observability.dashboards.model import Dashboard, Query, Row, heat, lines, number, table
from observability.dashboards.queries import CHOSEN, buckets, each, grown, quantile, quantiles, rate, total

_NOW = Row(
    "Now",
    (
        number(
            "Connections",
            "Connections open now. A fall without a deploy means clients are being lost.",
            "short",
            total("parley_connections"),
            alerts=("ParleyConnectionsFell",),
        ),
        number(
            "Accepted",
            "Connections accepted per second. A rise without more users means clients reconnect.",
            "cps",
            rate("parley_connections_accepted_total"),
            decimals=1,
        ),
        number(
            "Ended",
            "Connections ended per second, for whatever reason. A rise means something cuts them: see by cause.",
            "cps",
            rate("parley_disconnects_total"),
            decimals=1,
        ),
        number(
            "Refused",
            "Handshakes refused per second. A rise means bad credentials, foreign pages or full processes.",
            "cps",
            rate("parley_connections_refused_total"),
            decimals=1,
        ),
        number(
            "Fullest gateway to the mean",
            "Connections of the fullest gateway in multiples of the mean. Well above 1 for long means that "
            "rebalancing does not keep up, or is off.",
            "none",
            f"max(parley_connections_to_mean_ratio{{{CHOSEN}}})",
            amber=1.5,
            red=2,
            decimals=2,
            alerts=("ParleyGatewayImbalance",),
        ),
        number(
            "Median life",
            "Half of the connections that ended had lasted less. A fall means something cuts them early.",
            "s",
            quantile(0.5, "parley_connection_duration_seconds"),
        ),
    ),
)

_HELD = Row(
    "Held",
    (
        lines(
            "Connections by gateway",
            "Open connections of each gateway. Lines that part mean that newcomers are spread unevenly; a step down "
            "and up elsewhere is a restart.",
            "short",
            [Query(f"parley:connections_by_instance:sum{{{CHOSEN}}}", "{{instance}}")],
            alerts=("ParleyGatewayImbalance",),
        ),
        lines(
            "Share of what a gateway may hold",
            "Connections of each gateway as a share of MAX_CONNECTIONS of its processes. At 1 newcomers are refused: "
            "add gateways before.",
            "percentunit",
            [
                Query(
                    f"parley:connections_by_instance:sum{{{CHOSEN}}}"
                    f" / (sum by (instance) (parley_connections_limit{{{CHOSEN}}}) > 0)",
                    "{{instance}}",
                )
            ],
            amber=0.7,
            red=0.85,
            most=1,
            alerts=("ParleyGatewayNearlyFull", "ParleyGatewayFull"),
        ),
        lines(
            "Connections by transport",
            "Open connections by how they came. A rise of others than websocket means something on the way breaks "
            "WebSockets.",
            "short",
            [Query(total("parley_connections", "transport"), "{{transport}}")],
            stacked=True,
        ),
        heat(
            "How long connections lasted",
            "Connections that ended, by how long they had lasted. A new band at one duration means a timeout on the "
            "way cuts them, such as an ingress's idle timeout.",
            "s",
            buckets("parley_connection_duration_seconds"),
        ),
    ),
)

_COMING = Row(
    "Coming",
    (
        lines(
            "Accepted by transport",
            "Connections accepted. A rise without more users means clients reconnect.",
            "cps",
            each("parley_connections_accepted_total", "transport"),
        ),
        lines(
            "Refused before accept",
            "Handshakes refused, by reason. A rise of full means too few gateways, of foreign_origin a page that is "
            "not ours, of the others bad credentials.",
            "cps",
            each("parley_connections_refused_total", "reason"),
            alerts=("ParleyHandshakesRefused", "ParleyGatewayFull"),
        ),
        lines(
            "Connect and refresh commands",
            "Answers to connect and refresh, by result. A rise of anything but ok means token trouble.",
            "ops",
            each("parley_authentications_total", "result"),
        ),
    ),
)

_GOING = Row(
    "Going",
    (
        lines(
            "Ended by cause",
            "Connections ended, by cause. A rise names its own reason: slow and no_pong mean bad networks or clients, "
            "shutdown a deploy, network that something on the way cuts.",
            "cps",
            each("parley_disconnects_total", "cause"),
            stacked=True,
            alerts=("ParleyDisconnectStorm", "ParleyDisconnectCause"),
        ),
        lines(
            "Ended by code",
            "The same by the close code that clients saw; docs/protocol.md lists what each tells them to do.",
            "cps",
            each("parley_disconnects_total", "code"),
            stacked=True,
            alerts=("ParleyDisconnectCause",),
        ),
        table(
            "Ended in the time on show",
            "How many connections ended with each code and cause. The first row is the one to look into.",
            "short",
            f"sort_desc({grown('parley_disconnects_total', 'code, cause')} > 0)",
            decimals=0,
        ),
    ),
)

_MOVING = Row(
    "Drain and rebalance",
    (
        lines(
            "Gateways draining",
            "Processes of a gateway that are on their way out. For longer than the drain time means that they hang.",
            "none",
            [Query(f"max by (instance) (parley_draining{{{CHOSEN}}})", "{{instance}}")],
            width=6,
            alerts=("ParleyDrainStuck",),
        ),
        lines(
            "Connections still to drain",
            "Connections that a draining gateway holds. It should fall evenly; a cliff means they are closed in a "
            "burst.",
            "short",
            [Query(total("parley_drain_remaining", "instance"), "{{instance}}")],
            width=6,
        ),
        lines(
            "Closed by drains",
            "Connections that drains closed: in their turn, and by force when the time was over. Any by force means "
            "the drain time is too short for so many connections.",
            "cps",
            [
                Query(rate("parley_drain_closed_total"), "in turn"),
                Query(rate("parley_drain_forced_total"), "by force"),
            ],
            width=6,
            alerts=("ParleyDrainForced",),
        ),
        lines(
            "Connections moved",
            "Connections that overfull gateways ended so that they come back elsewhere. A rise follows a scale-up; "
            "one without it means newcomers are spread unevenly.",
            "cps",
            [Query(rate("parley_rebalanced_total", "instance"), "{{instance}}")],
            width=6,
        ),
    ),
)

_STREAMS = Row(
    "HTTP streams and bad frames",
    (
        lines(
            "Frames posted by clients of HTTP streams",
            "By what became of them. A rise of gone means streams are lost between two posts, of unavailable that "
            "gateways do not reach each other.",
            "ops",
            each("parley_emulated_frames_total", "result"),
        ),
        lines(
            "Frames that could not be decoded",
            "Each ended its connection. A rise means a broken or hostile client.",
            "ops",
            [Query(rate("parley_bad_frames_total"), "bad frames")],
        ),
        lines(
            "Life of a connection",
            "Quantiles of how long connections had lasted. A fall of all at once means something cuts them.",
            "s",
            quantiles("parley_connection_duration_seconds"),
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-connections",
    "Parley: connections",
    "Who is connected, who comes, and why connections end.",
    "parley_connections",
    (_NOW, _HELD, _COMING, _GOING, _MOVING, _STREAMS),
)
