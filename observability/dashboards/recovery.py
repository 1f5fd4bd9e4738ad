"""Recovery and storms: what clients missed and got back, what overflowed, and whether everybody reconnects at once."""

from observability.dashboards.model import Dashboard, Query, Row, lines, number
from observability.dashboards.queries import CHOSEN, each, grown, rate, share, total

_RECOVERED = 'result="recovered"'

_NOW = Row(
    "In the time on show",
    (
        number(
            "Recovered in full",
            "Share of subscriptions that asked to recover and got everything they had missed. The others reload "
            "history.",
            "percentunit",
            share(grown("parley_recoveries_total", where=_RECOVERED), grown("parley_recoveries_total")),
            amber=0.99,
            red=0.9,
            low_is_bad=True,
            decimals=2,
        ),
        number(
            "Events recovered",
            "Missed events handed to clients that came back. A rise follows disconnects.",
            "short",
            grown("parley_recovered_publications_total"),
            decimals=0,
        ),
        number(
            "Gaps repaired",
            "Events that NATS did not bring and that were read from the log. A rise means NATS drops messages.",
            "short",
            grown("parley_gaps_total", where='outcome="repaired"'),
            decimals=0,
        ),
        number(
            "Gaps lost",
            "Gaps that could not be repaired in time; clients were told to recover. Any means NATS was away for long.",
            "short",
            grown("parley_gaps_total", where='outcome="lost"'),
            red=1,
            decimals=0,
            alerts=("ParleyGapsNotRepaired",),
        ),
        number(
            "Queues overflowed",
            "Each ended a connection or was repaired from the log. A rise means clients or processes that cannot keep "
            "up.",
            "short",
            grown("parley_queue_overflows_total"),
            amber=1,
            decimals=0,
        ),
        number(
            "Accepts now to the hour's mean",
            "How many times more connections are accepted now than in the past hour on average. Far above 1 is a "
            "storm: clients all reconnect at once.",
            "none",
            "parley:connections_accepted:rate5m / (avg_over_time(parley:connections_accepted:rate5m[1h]) > 0) or 0 * "
            "parley:connections_accepted:rate5m",
            amber=3,
            red=10,
            decimals=1,
        ),
    ),
)

_STORMS = Row(
    "Storms",
    (
        lines(
            "Accepted, and the hour's mean",
            "Connections accepted beside what is usual. A peak is a storm; its height must stay below what a gateway "
            "can take, which is why drains are spread.",
            "cps",
            [
                Query(rate("parley_connections_accepted_total"), "now"),
                Query("avg_over_time(parley:connections_accepted:rate5m[1h])", "mean of the past hour"),
            ],
        ),
        lines(
            "Accepted by gateway",
            "A peak on one alone means that a balancer sends newcomers there.",
            "cps",
            [Query(rate("parley_connections_accepted_total", "instance"), "{{instance}}")],
        ),
        lines(
            "Ended, all causes",
            "What storms begin with. Compare with the annotations: a restart, or a close burst.",
            "cps",
            each("parley_disconnects_total", "cause"),
            stacked=True,
            alerts=("ParleyDisconnectStorm",),
        ),
    ),
)

_RECOVERY = Row(
    "Recovery",
    (
        lines(
            "Recoveries by result",
            "Subscriptions that asked to recover. A rise of not_recovered means clients were away for longer than "
            "history reaches, and reload.",
            "ops",
            each("parley_recoveries_total", "result"),
            alerts=("ParleyRecoveriesFail",),
        ),
        lines(
            "Events recovered",
            "Missed events handed to clients that came back. A rise follows disconnects.",
            "ops",
            [Query(rate("parley_recovered_publications_total"), "events")],
        ),
        lines(
            "Events per recovery",
            "How much a client had missed. A rise means clients are away for longer.",
            "none",
            [
                Query(
                    share(rate("parley_recovered_publications_total"), rate("parley_recoveries_total")),
                    "events per recovery",
                )
            ],
        ),
    ),
)

_GAPS = Row(
    "Gaps and slow clients",
    (
        lines(
            "Gaps by outcome",
            "Offsets that the live feed skipped. seen and repaired cost a read of the log; lost means clients were "
            "told.",
            "ops",
            each("parley_gaps_total", "outcome"),
            alerts=("ParleyGapsNotRepaired",),
        ),
        lines(
            "Overflows by queue",
            "outbox: a client that does not read; commands: one that asks too much; repair: a gap too large; "
            "presence: too many changes at once.",
            "ops",
            each("parley_queue_overflows_total", "queue"),
            alerts=("ParleyQueueOverflows",),
        ),
        lines(
            "Slow and silent clients",
            "Clients that left their socket unread, and connections ended for it or for a ping without answer. A rise "
            "means slow networks, or more traffic than clients can take.",
            "ops",
            [
                Query(rate("parley_stalls_total"), "stalled"),
                Query(rate("parley_disconnects_total", "cause", 'cause=~"slow|no_pong"'), "ended: {{cause}}"),
            ],
            alerts=("ParleySlowClientsCut",),
        ),
    ),
)

_BENEATH = Row(
    "Beneath",
    (
        lines(
            "Connection to NATS",
            "1 while every process of a target has its connection. A fall means sends are refused and nothing is "
            "delivered.",
            "none",
            [Query(f"min by (job, instance) (parley_nats_connected{{{CHOSEN}}})", "{{job}} {{instance}}")],
            red=1,
            low_is_bad=True,
            most=1,
            alerts=("ParleyNatsDisconnected",),
        ),
        lines(
            "NATS connections made again",
            "A rise means NATS restarts or the network to it breaks.",
            "ops",
            [Query("sum by (job) (rate(parley_nats_reconnects_total[$__rate_interval]))", "{{job}}")],
        ),
        lines(
            "Gateways that died",
            "Presence entries removed for gateways that ended without a word, and gaps in what the chat service "
            "hears. A rise means processes are killed, or messages to them are lost.",
            "ops",
            [
                Query(rate("parley_presence_swept_total"), "presence entries removed"),
                Query("sum(rate(parley_chat_live_gaps_total[$__rate_interval]))", "gaps at the chat service"),
            ],
        ),
        number(
            "Connections",
            "Open connections, to judge the other figures by.",
            "short",
            total("parley_connections"),
            width=8,
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-recovery",
    "Parley: recovery and storms",
    "What clients missed and got back, and whether everybody reconnects at once.",
    "parley_connections",
    (_NOW, _STORMS, _RECOVERY, _GAPS, _BENEATH),
)
