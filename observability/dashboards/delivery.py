"""Delivery: how long a message takes, and where on its way."""

from observability.dashboards.model import Dashboard, Query, Row, heat, lines, number
from observability.dashboards.queries import CHOSEN, buckets, each, grown, quantile, quantiles, rate, share

STAGES = "parley_delivery_stage_seconds"
IN_TIME = f'{STAGES}_bucket{{{CHOSEN}, stage="total", le="0.5"}}'
ALL = f'{STAGES}_count{{{CHOSEN}, stage="total"}}'


def _stage(stage: str) -> str:
    return f'stage="{stage}"'


_NOW = Row(
    "Now",
    (
        number(
            "Delivered within 500 ms",
            "Share of deliveries in the time on show that were on the sockets 500 ms after the message was accepted. "
            "The objective is 99.9 %.",
            "percentunit",
            share(f"sum(increase({IN_TIME}[$__range]))", f"sum(increase({ALL}[$__range]))"),
            amber=0.999,
            red=0.99,
            low_is_bad=True,
            decimals=3,
            width=6,
            alerts=("ParleyDeliverySloBurnsFast",),
        ),
        number(
            "Median",
            "Half of the deliveries took less. A rise means the disk under NATS or the processes are busy.",
            "s",
            quantile(0.5, STAGES, where=_stage("total")),
            amber=0.1,
            red=0.5,
            width=6,
        ),
        number(
            "99th percentile",
            "One delivery in a hundred took longer. A rise is the first sign that something is slow.",
            "s",
            quantile(0.99, STAGES, where=_stage("total")),
            amber=0.25,
            red=0.5,
            width=6,
        ),
        number(
            "Events put on sockets",
            "Events that gateways handed to their subscribers, per second.",
            "ops",
            rate(f"{STAGES}_count", where=_stage("total")),
            width=6,
            decimals=1,
        ),
    ),
)

_TOTAL = Row(
    "From accepted to on the sockets",
    (
        lines(
            "Total",
            "Time from the chat service's acceptance of a message until it is on the sockets of a gateway. The "
            "objective is that 99.9 % take less than 500 ms.",
            "s",
            quantiles(STAGES, where=_stage("total")),
            red=0.5,
            width=12,
        ),
        heat(
            "Total, as a distribution",
            "Deliveries by how long they took. A second band means that some rooms, or one gateway, are slower.",
            "s",
            buckets(STAGES, _stage("total")),
            width=12,
        ),
        lines(
            "Share within 500 ms",
            "What the objective is about, over time. Below 99.9 % the error budget is being spent.",
            "percentunit",
            [Query(share(f"sum(rate({IN_TIME}[$__rate_interval]))", f"sum(rate({ALL}[$__rate_interval]))"), "share")],
            amber=0.999,
            red=0.99,
            low_is_bad=True,
            most=1,
            width=12,
            alerts=(
                "ParleyDeliverySloBurnsFast",
                "ParleyDeliverySloBurns",
                "ParleyDeliverySloBurnsSlowly",
                "ParleyDeliverySloLeaks",
            ),
        ),
        lines(
            "99th percentile by gateway",
            "One gateway above the others means that this process, or its way to NATS, is slow.",
            "s",
            [Query(quantile(0.99, STAGES, "instance", _stage("total")), "{{instance}}")],
            red=0.5,
            width=12,
        ),
    ),
)

_STAGES = Row(
    "Stage by stage",
    (
        lines(
            "Accepted to stored",
            "Time from a gateway's question to the chat service until the acknowledgement. A rise means a slow disk "
            "under NATS, a busy room or a slow database.",
            "s",
            quantiles(STAGES, where=_stage("stored")),
        ),
        lines(
            "Stored to on the sockets",
            "Time from NATS's own clock reading when it stored the event until it is on the sockets. A rise means "
            "NATS or the gateways are busy, or clocks differ.",
            "s",
            quantiles(STAGES, where=_stage("fanned_out")),
        ),
        lines(
            "Fan-out within a process",
            "Time to hand one event to every local subscriber. A rise means larger rooms or a busy process.",
            "s",
            quantiles("parley_fanout_duration_seconds"),
        ),
        heat(
            "Accepted to stored, as a distribution",
            "Acknowledgements by how long they took.",
            "s",
            buckets(STAGES, _stage("stored")),
        ),
        heat(
            "Stored to on the sockets, as a distribution",
            "Deliveries by how long they took after they were stored.",
            "s",
            buckets(STAGES, _stage("fanned_out")),
        ),
        lines(
            "Append to the log",
            "Time until NATS has a record on disk. A rise means the disk under NATS is slow.",
            "s",
            [
                Query("parley:chat_append_seconds:p50_5m", "p50"),
                Query("parley:chat_append_seconds:p99_5m", "p99"),
            ],
            alerts=("ParleyAppendSlow",),
        ),
    ),
)

_OUTSIDE = Row(
    "As clients see it",
    (
        lines(
            "Canary: sent until received",
            "Time of the canary's messages through the public address and back. A rise that the panels above do not "
            "show happens on the way to us: ingress, network.",
            "s",
            [
                Query("parley:canary_latency_seconds:p50_5m", "p50"),
                Query("parley:canary_latency_seconds:p99_5m", "p99"),
            ],
            red=0.5,
            alerts=("ParleyCanarySlow",),
        ),
        lines(
            "Commands, 99th percentile",
            "Time from taking a command to its reply, by method. A rise means NATS or the chat service is slow.",
            "s",
            [Query(quantile(0.99, "parley_command_duration_seconds", "method"), "{{method}}")],
        ),
        lines(
            "Commands",
            "Commands of clients by method. A rise is more users, or clients that repeat themselves.",
            "ops",
            each("parley_commands_total", "method"),
        ),
        lines(
            "Commands refused",
            "Commands answered with an error, by its code. A rise of 503 means NATS or a service is away; of others, "
            "that a client is broken.",
            "ops",
            [Query(rate("parley_commands_total", "result", 'result!="0"'), "{{result}}")],
            alerts=("ParleySendSloBurnsFast", "ParleySendSloBurns"),
        ),
        number(
            "Refused in the time on show",
            "Share of commands that were answered with an error.",
            "percentunit",
            share(grown("parley_commands_total", where='result!="0"'), grown("parley_commands_total")),
            amber=0.01,
            red=0.05,
            width=8,
            decimals=2,
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-delivery",
    "Parley: delivery",
    "How long messages take, and in which stage the time goes.",
    "parley_delivery_stage_seconds_count",
    (_NOW, _TOTAL, _STAGES, _OUTSIDE),
)
