"""Overview: is anything wrong, and where to look on. The first row is what users would say."""

from observability.dashboards.model import Dashboard, Query, Row, lines, number
from observability.dashboards.queries import CHOSEN

_BUDGET = "0.001"
"""The share of messages that may be late, and of sends that may fail: the objectives are 99.9 %."""

_FIRST = Row(
    "What users notice: the canary and the objective",
    (
        number(
            "Lost",
            "Messages of the canary in the time on show that were acknowledged and never came back. Must be 0.",
            "short",
            "sum(increase(parley_canary_lost_total[$__range]))",
            red=0.5,
            decimals=0,
            width=3,
            alerts=("ParleyCanaryLosesMessages",),
        ),
        number(
            "Duplicated",
            "Messages of the canary in the time on show that came back more than once. Must be 0.",
            "short",
            "sum(increase(parley_canary_duplicated_total[$__range]))",
            red=0.5,
            decimals=0,
            width=3,
            alerts=("ParleyCanaryDuplicated",),
        ),
        number(
            "Out of order",
            "Messages of the canary in the time on show that came back before an older one. Must be 0.",
            "short",
            "sum(increase(parley_canary_reordered_total[$__range]))",
            red=0.5,
            decimals=0,
            width=3,
            alerts=("ParleyCanaryReordered",),
        ),
        number(
            "Delivered within 500 ms, past hour",
            "Share of messages that were on the sockets 500 ms after they were accepted. The objective is 99.9 %.",
            "percentunit",
            "1 - parley:delivery_errors:ratio1h",
            amber=0.999,
            red=0.99,
            low_is_bad=True,
            decimals=3,
            alerts=("ParleyDeliverySloBurnsFast",),
        ),
        number(
            "Error budget burn, past hour",
            "How many times faster than allowed late deliveries spend the budget. 1 lasts for 30 days, 14.4 for two.",
            "none",
            f"parley:delivery_errors:ratio1h / {_BUDGET}",
            amber=1,
            red=14.4,
            decimals=1,
            alerts=("ParleyDeliverySloBurns",),
        ),
        number(
            "Error budget left, 30 days",
            "Of late deliveries. Below 0 the objective of these 30 days is missed: mend before you build.",
            "percentunit",
            "parley:delivery_budget_remaining:ratio30d",
            amber=0.5,
            red=0,
            low_is_bad=True,
            decimals=0,
            width=3,
            alerts=("ParleyDeliverySloLeaks", "ParleyDeliverySloBurnsSlowly"),
        ),
        number(
            "Alerts firing",
            "Alerts of Prometheus that fire now.",
            "short",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            red=1,
            width=2,
        ),
        number(
            "Down",
            "Addresses that Prometheus could not scrape. Any means a service is away, or does not answer in time.",
            "short",
            "count(up == 0) or vector(0)",
            red=1,
            width=2,
            alerts=("ParleyServiceAbsent", "ParleyTargetDown"),
        ),
    ),
)

_CANARY = Row(
    "Canary and error budget over time",
    (
        lines(
            "Canary: messages",
            "Sent and received per second: the lines lie on each other. Lost, duplicated and reordered must stay at 0.",
            "ops",
            [
                Query(f"sum(rate(parley_canary_{what}_total[$__rate_interval]))", what)
                for what in ("sent", "received", "lost", "duplicated", "reordered")
            ],
            alerts=("ParleyCanarySilent", "ParleyCanaryDisconnected", "ParleyCanaryAbsent"),
        ),
        lines(
            "Canary: sent until received",
            "Through the public address and back. A rise that delivery does not show happens before us: ingress, "
            "network.",
            "s",
            [
                Query("parley:canary_latency_seconds:p50_5m", "p50"),
                Query("parley:canary_latency_seconds:p99_5m", "p99"),
            ],
            red=0.5,
            alerts=("ParleyCanarySlow",),
        ),
        lines(
            "Error budget burn",
            "How many times faster than allowed late deliveries and failed sends spend their budgets of 0.1 %. A past "
            "hour above 14.4 wakes somebody.",
            "none",
            [
                Query(f"parley:{what}_errors:ratio{window} / {_BUDGET}", f"{what}, past {window}")
                for what in ("delivery", "send")
                for window in ("1h", "6h")
            ],
            amber=1,
            red=14.4,
            alerts=("ParleySendSloBurnsFast", "ParleySendSloBurns", "ParleySendSloBurnsSlowly", "ParleySendSloLeaks"),
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        lines(
            "Connections",
            "Open connections by transport. A fall without a deploy means clients are being lost.",
            "short",
            [Query("parley:connections_by_transport:sum", "{{transport}}")],
            stacked=True,
            alerts=("ParleyConnectionsFell",),
        ),
        lines(
            "Messages",
            "Frames in from clients, and replies and pushes out to them.",
            "ops",
            [Query("parley:messages_in:rate5m", "in"), Query("parley:messages_out:rate5m", "out")],
        ),
        lines(
            "Commands",
            "Commands of clients by method.",
            "ops",
            [Query("sum by (method) (parley:commands:rate5m)", "{{method}}")],
        ),
    ),
)

_ERRORS = Row(
    "Errors",
    (
        lines(
            "Connections ended by cause",
            "A rise names its own reason: shutdown a deploy, network something on the way, slow and no_pong bad "
            "clients.",
            "cps",
            [Query("sum by (cause) (parley:disconnects_by_cause:rate5m)", "{{cause}}")],
            stacked=True,
            alerts=("ParleyDisconnectStorm",),
        ),
        lines(
            "Commands refused, by code",
            "A rise of 503 means NATS or a service is away; of others, that a client is broken.",
            "ops",
            [Query('sum by (result) (parley:commands:rate5m{result!="0"})', "{{result}}")],
            alerts=("ParleyChatRefuses",),
        ),
        lines(
            "HTTP answers 5xx",
            "Share of HTTP requests that failed, by service. Any for long means a database or NATS is away.",
            "percentunit",
            [
                Query(
                    'sum by (job) (parley:http_requests:rate5m{status=~"5.."})'
                    " / sum by (job) (parley:http_requests:rate5m) or 0 * sum by (job) (parley:http_requests:rate5m)",
                    "{{job}}",
                )
            ],
            amber=0.01,
            red=0.05,
            alerts=("ParleyHttpErrors",),
        ),
    ),
)

_LATENCY = Row(
    "Latency",
    (
        lines(
            "Delivery: accepted until on the sockets",
            "What users feel. The objective is that 99.9 % take less than 500 ms.",
            "s",
            [
                Query('parley:delivery_stage_seconds:p50_5m{stage="total"}', "p50"),
                Query('parley:delivery_stage_seconds:p99_5m{stage="total"}', "p99"),
                Query('parley:delivery_stage_seconds:p999_5m{stage="total"}', "p99.9"),
            ],
            red=0.5,
            alerts=("ParleyDeliverySloBurnsFast",),
        ),
        lines(
            "Commands, 99th percentile",
            "From taking a command to its reply, by method. A rise means NATS or the chat service is slow.",
            "s",
            [Query("parley:command_duration_seconds:p99_5m", "{{method}}")],
        ),
        lines(
            "Append to the log",
            "Time until NATS has a record on disk. A rise means the disk under NATS is slow.",
            "s",
            [Query("parley:chat_append_seconds:p50_5m", "p50"), Query("parley:chat_append_seconds:p99_5m", "p99")],
            alerts=("ParleyAppendSlow",),
        ),
    ),
)

_SATURATION = Row(
    "Saturation",
    (
        lines(
            "Processor",
            "Cores used by one process of each target. Near 1 its event loop is full, and everything waits.",
            "none",
            [Query(f"parley:process_cpu_by_instance:rate5m{{{CHOSEN}}}", "{{job}} {{instance}}")],
            amber=0.7,
            red=0.9,
            alerts=("ParleyProcessBusy",),
        ),
        lines(
            "Event loop late, 99th percentile",
            "By target. A rise means too much work for one process, or a call that blocks.",
            "s",
            [Query(f"parley:event_loop_lag_seconds:p99_5m{{{CHOSEN}}}", "{{job}} {{instance}}")],
            amber=0.05,
            red=0.25,
            alerts=("ParleyEventLoopLate",),
        ),
        lines(
            "Queues",
            "Commands in work at the chat service, password hashes that wait, records the archive lacks, revocations "
            "that wait for NATS. Each grows when what is behind it is too slow.",
            "short",
            [
                Query("sum(parley_chat_in_flight_commands)", "commands in work"),
                Query("sum(parley_auth_argon2_waiting)", "password hashes"),
                Query("parley:chat_archive_lag_records:min", "archive lag"),
                Query("max(parley_auth_revocations_pending)", "revocations"),
            ],
        ),
        lines(
            "Connections by gateway",
            "Against MAX_CONNECTIONS per process. Lines that part mean newcomers are spread unevenly.",
            "short",
            [Query(f"parley:connections_by_instance:sum{{{CHOSEN}}}", "{{instance}}")],
            alerts=("ParleyGatewayNearlyFull", "ParleyGatewayFull"),
        ),
        lines(
            "Memory",
            "Resident memory of each target. A rise without more connections means a leak.",
            "bytes",
            [Query(f"parley:process_memory_by_instance:sum{{{CHOSEN}}}", "{{job}} {{instance}}")],
            alerts=("ParleyMemoryNearLimit",),
        ),
        lines(
            "Connection to NATS",
            "1 while every process of a service has its connection. A fall means sends are refused and nothing is "
            "delivered.",
            "none",
            [Query("min by (job) (parley_nats_connected)", "{{job}}")],
            red=1,
            low_is_bad=True,
            most=1,
            alerts=("ParleyNatsDisconnected",),
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-overview",
    "Parley: overview",
    "Is anything wrong, and where to look on: the canary, the objective, and the golden signals.",
    "parley_build_info",
    (_FIRST, _CANARY, _TRAFFIC, _ERRORS, _LATENCY, _SATURATION),
)
