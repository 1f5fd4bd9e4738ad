"""Processes: what each costs, how late its event loop is, what runs since when."""

from observability.dashboards.model import Dashboard, Query, Row, heat, lines, number, table
from observability.dashboards.queries import CHOSEN, buckets, quantile, rate

_NAME = "{{job}} {{instance}}"
_EACH = "job, instance"
_FAILURES = 'prometheus_rule_evaluation_failures_total{rule_group=~".*;parley-.*"}'


def _now(metric: str, fold: str = "max") -> list[Query]:
    return [Query(f"{fold} by ({_EACH}) ({metric}{{{CHOSEN}}})", _NAME)]


_NOW = Row(
    "Now",
    (
        number(
            "Processes",
            "Processes that serve. A fall means workers end faster than they are started again.",
            "short",
            f"sum(parley_processes{{{CHOSEN}}})",
        ),
        number(
            "Targets down",
            "Addresses that Prometheus could not scrape. Any means a service is away or does not answer in time.",
            "short",
            "count(up == 0) or vector(0)",
            red=1,
            alerts=("ParleyTargetDown", "ParleyServiceAbsent"),
        ),
        number(
            "Busiest target",
            "Processor seconds per second of the busiest target. One event loop can use 1; a gateway has "
            "GATEWAY_WORKERS.",
            "none",
            f"max({rate('parley_process_cpu_seconds_total', _EACH)})",
            decimals=2,
        ),
        number(
            "Memory",
            "Memory that all processes hold. Pages that workers share are counted in each.",
            "bytes",
            f"sum(parley_process_resident_memory_bytes{{{CHOSEN}}})",
            alerts=("ParleyMemoryNearLimit",),
        ),
        number(
            "Event loop late, 99th percentile",
            "How late event loops run what is due. Above 50 ms everything a process does waits.",
            "s",
            quantile(0.99, "parley_event_loop_lag_seconds"),
            amber=0.05,
            red=0.25,
            alerts=("ParleyEventLoopLate",),
        ),
        number(
            "Youngest process",
            "How long the process that was started last has run. A small figure without a deploy is a restart.",
            "s",
            f"time() - max(parley_process_start_time_seconds{{{CHOSEN}}})",
        ),
    ),
)

_COST = Row(
    "Cost",
    (
        lines(
            "Processor",
            "Seconds per second, summed over the processes of a target. Near one per process everything waits.",
            "none",
            [Query(rate("parley_process_cpu_seconds_total", _EACH), _NAME)],
            alerts=("ParleyProcessBusy",),
        ),
        lines(
            "Memory",
            "Resident memory, summed over the processes of a target. A rise without more connections means a leak.",
            "bytes",
            _now("parley_process_resident_memory_bytes", "sum"),
        ),
        lines(
            "Memory of what there may be",
            "Share of the container's limit, or of the machine's memory where there is none. Above 1 processes are "
            "killed.",
            "percentunit",
            [
                Query(
                    f"parley:process_memory_by_instance:sum{{{CHOSEN}}}"
                    f" / (sum by ({_EACH}) (parley_memory_limit_bytes{{{CHOSEN}}}) > 0)",
                    _NAME,
                )
            ],
            amber=0.7,
            red=0.85,
            most=1,
            alerts=("ParleyMemoryNearLimit",),
        ),
        lines(
            "File descriptors used",
            "Share of what a process may have open, of the process nearest its limit. At 1 no connection is accepted.",
            "percentunit",
            [
                Query(
                    f"max by ({_EACH}) (parley_process_open_fds{{{CHOSEN}}} / parley_process_max_fds{{{CHOSEN}}})",
                    _NAME,
                )
            ],
            amber=0.7,
            red=0.9,
            most=1,
            alerts=("ParleyFileDescriptorsNearLimit",),
        ),
    ),
)

_LOOP = Row(
    "Event loop and garbage collector",
    (
        lines(
            "Event loop late, 99th percentile",
            "Tried four times per second in each process. A rise means too much work, or a call that blocks.",
            "s",
            [Query(quantile(0.99, "parley_event_loop_lag_seconds", _EACH), _NAME)],
            amber=0.05,
            red=0.25,
            alerts=("ParleyEventLoopLate",),
        ),
        heat(
            "Event loop late, as a distribution",
            "All processes. A few far above the rest are single calls that block.",
            "s",
            buckets("parley_event_loop_lag_seconds"),
        ),
        lines(
            "Time in the garbage collector",
            "Share of time in which a target's processes stood still for it. A rise means more objects live.",
            "percentunit",
            [Query(rate("parley_gc_pause_seconds_sum", _EACH), _NAME)],
            amber=0.02,
            red=0.1,
        ),
        lines(
            "Pauses of the collector, 99th percentile",
            "Each holds up everything in its process.",
            "s",
            [Query(quantile(0.99, "parley_gc_pause_seconds", _EACH), _NAME)],
            red=0.1,
        ),
        lines(
            "Collections",
            "How often the collector runs. It follows how much is made and dropped: traffic.",
            "ops",
            [Query(rate("parley_gc_pause_seconds_count", _EACH), _NAME)],
        ),
        lines(
            "Memory per connection",
            "Memory of each gateway divided by its connections. It falls as connections come; a slow rise at equal "
            "load is a leak.",
            "bytes",
            [
                Query(
                    f"sum by (instance) (parley_process_resident_memory_bytes{{{CHOSEN}}})"
                    f" / (sum by (instance) (parley_connections{{{CHOSEN}}}) > 0)",
                    "{{instance}}",
                )
            ],
        ),
    ),
)

_RUNNING = Row(
    "What runs",
    (
        lines(
            "Processes",
            "By target: GATEWAY_WORKERS for a gateway, 1 for the others. A dip is a worker that ended.",
            "short",
            _now("parley_processes"),
        ),
        lines(
            "Uptime of the youngest process",
            "It falls to 0 when a process is started. Teeth mean a process that is restarted again and again.",
            "s",
            [
                Query(
                    f"time() - max by ({_EACH}) (parley_process_start_time_seconds{{{CHOSEN}}})",
                    _NAME,
                )
            ],
            alerts=("ParleyProcessRestarts",),
        ),
        table(
            "Versions",
            "What version each target runs. Two at once mean a deploy under way, or one that stopped.",
            "none",
            f"max by (job, instance, version) (parley_build_info{{{CHOSEN}}})",
            alerts=("ParleyVersionsDiffer",),
        ),
    ),
)

_HTTP = Row(
    "HTTP",
    (
        lines(
            "Requests by status",
            "By target's job and status. A rise of 5xx means failing requests.",
            "reqps",
            [Query("parley:http_requests:rate5m", "{{job}} {{status}}")],
            alerts=("ParleyHttpErrors",),
        ),
        lines(
            "Requests by route",
            "Health checks and scrapes are left out.",
            "reqps",
            [
                Query(
                    rate("parley_http_requests_total", "job, route", 'route!~"/health.*|/metrics"'),
                    "{{job}} {{route}}",
                )
            ],
        ),
        lines(
            "Time to answer, 99th percentile",
            "By route. A rise means a slow database or a busy process.",
            "s",
            [Query("parley:http_request_duration_seconds:p99_5m", "{{job}} {{route}}")],
        ),
        lines(
            "Answers that one is not ready",
            "/health/ready answered with 503. For more than moments it means that something this process needs is "
            "away; the answer names it.",
            "reqps",
            [
                Query(
                    rate("parley_http_requests_total", _EACH, 'route="/health/ready", status="503"')
                    + " or 0 * "
                    + rate("parley_http_requests_total", _EACH),
                    _NAME,
                )
            ],
            alerts=("ParleyNotReady",),
        ),
    ),
)

_WATCHING = Row(
    "Who watches",
    (
        lines(
            "Targets that answer",
            "By job. A fall is a service that is gone, or does not answer Prometheus in time.",
            "short",
            [Query("sum by (job) (up)", "{{job}}")],
            alerts=("ParleyTargetDown", "ParleyServiceAbsent"),
        ),
        lines(
            "Rules that fail",
            "Evaluations of our rules that Prometheus could not finish. Any means that alerts may be silent.",
            "ops",
            [Query(f"sum(rate({_FAILURES}[$__rate_interval]))", "failures")],
            red=0.001,
            alerts=("ParleyRulesFail",),
        ),
        lines(
            "Prometheus and Alertmanager",
            "Configuration loaded (1), Alertmanagers known, and alerts dropped on the way to them. Without the first "
            "two nobody is told.",
            "short",
            [
                Query("min(prometheus_config_last_reload_successful)", "configuration loaded"),
                Query("max(prometheus_notifications_alertmanagers_discovered)", "Alertmanagers"),
                Query("sum(rate(prometheus_notifications_dropped_total[$__rate_interval]))", "dropped per second"),
            ],
            alerts=("ParleyConfigNotLoaded", "ParleyAlertsNotSent"),
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-processes",
    "Parley: processes",
    "What each process costs, how late it runs, and what runs since when.",
    "parley_build_info",
    (_NOW, _COST, _LOOP, _RUNNING, _HTTP, _WATCHING),
)
