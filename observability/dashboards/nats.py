"""NATS and JetStream: the servers by their exporter, and what our services see of them."""

from observability.dashboards.model import Dashboard, Query, Row, lines, number
from observability.dashboards.queries import CHOSEN, quantiles

_BY_SERVER = "{{server_id}}"
_BY_STREAM = "{{stream_name}}"
_ARCHIVE = "parley_chat_archive"


def _server_rate(metric: str) -> list[Query]:
    return [Query(f"sum by (server_id) (rate({metric}[$__rate_interval]))", _BY_SERVER)]


def _server(metric: str) -> list[Query]:
    return [Query(f"max by (server_id) ({metric})", _BY_SERVER)]


_NOW = Row(
    "Now",
    (
        number(
            "Servers that answer",
            "nats-servers whose monitoring port answers. One fewer than there are is a lost node.",
            "short",
            "count(gnatsd_varz_start)",
            red=1,
            low_is_bad=True,
            alerts=("ParleyNatsNodeLost", "ParleyNatsExporterDown"),
        ),
        number(
            "Connections",
            "Clients of all servers: one per process of ours. A fall means services lost NATS.",
            "short",
            "sum(gnatsd_varz_connections)",
        ),
        number(
            "Messages in",
            "Messages that the servers take, per second.",
            "ops",
            "parley:nats_messages_in:rate5m",
            decimals=1,
        ),
        number(
            "Slow consumers",
            "Connections in the time on show that did not read fast enough, so that NATS dropped messages to them.",
            "short",
            "sum(increase(gnatsd_varz_slow_consumers[$__range]))",
            red=1,
            decimals=0,
            alerts=("ParleyNatsSlowConsumers",),
        ),
        number(
            "Replica lag",
            "Records that the slowest replica of any stream lacks. Growing means a node cannot keep up; there is none "
            "on one server.",
            "short",
            "max(max by (stream_name) (jetstream_stream_last_seq) - min by (stream_name) (jetstream_stream_last_seq))",
            amber=100,
            red=1000,
            alerts=("ParleyNatsReplicaLags",),
        ),
        number(
            "Archive lag",
            "Records of the log that are not yet in the archive. A rise means the database is slow or away.",
            "short",
            "parley:chat_archive_lag_records:min",
            amber=100,
            red=1000,
            alerts=("ParleyArchiveLags", "ParleyArchiveStuck"),
        ),
    ),
)

_SERVERS = Row(
    "Servers",
    (
        lines("Messages in", "Taken per second, by server.", "ops", _server_rate("gnatsd_varz_in_msgs")),
        lines("Messages out", "Delivered per second, by server.", "ops", _server_rate("gnatsd_varz_out_msgs")),
        lines(
            "Bytes",
            "In and out, all servers. Routes between servers count too.",
            "Bps",
            [
                Query("sum(rate(gnatsd_varz_in_bytes[$__rate_interval]))", "in"),
                Query("sum(rate(gnatsd_varz_out_bytes[$__rate_interval]))", "out"),
            ],
        ),
        lines(
            "Connections",
            "Clients by server. A server without any has been cut off from the services.",
            "short",
            _server("gnatsd_varz_connections"),
        ),
        lines(
            "Subscriptions",
            "By server. It grows with rooms that are open somewhere; each gateway process has one per channel.",
            "short",
            _server("gnatsd_varz_subscriptions"),
        ),
        lines(
            "Slow consumers",
            "Connections to which messages were dropped. Gateways repair that from the log; a rise means a process or "
            "the network cannot keep up.",
            "short",
            _server("gnatsd_varz_slow_consumers"),
            alerts=("ParleyNatsSlowConsumers",),
        ),
        lines(
            "Memory",
            "Of each nats-server. A rise without more streams or subscriptions means clients that do not read.",
            "bytes",
            _server("gnatsd_varz_mem"),
        ),
        lines(
            "Processor",
            "Percent of one core, by server. JetStream with sync_interval: always waits for the disk more than it "
            "computes.",
            "percent",
            _server("gnatsd_varz_cpu"),
        ),
        lines(
            "Unhealthy servers",
            "1 while a server says of itself that it is not well: JetStream without a leader, streams that catch up, "
            "a disk that fails.",
            "none",
            _server("gnatsd_healthz_status"),
            red=1,
            alerts=("ParleyNatsUnhealthy",),
        ),
        lines(
            "JetStream API",
            "Requests, and those answered with an error. Errors while services start are streams that exist already.",
            "reqps",
            [
                Query("sum(rate(gnatsd_varz_jetstream_stats_api_total[$__rate_interval]))", "requests"),
                Query("sum(rate(gnatsd_varz_jetstream_stats_api_errors[$__rate_interval]))", "errors"),
            ],
        ),
    ),
)

_STREAMS = Row(
    "Streams",
    (
        lines(
            "Messages kept",
            "By stream. ROOMS grows for ever: it is the truth; the others have ends.",
            "short",
            [Query("parley:nats_stream_messages:max", _BY_STREAM)],
        ),
        lines(
            "Bytes kept",
            "By stream. How fast ROOMS grows says when the disk is full.",
            "bytes",
            [Query("parley:nats_stream_bytes:max", _BY_STREAM)],
        ),
        lines(
            "Storage used",
            "Of what JetStream may use. At 1 nothing more is stored, and sends are refused.",
            "percentunit",
            [
                Query(
                    "max by (server_id) (gnatsd_varz_jetstream_stats_storage / "
                    "gnatsd_varz_jetstream_config_max_storage)",
                    _BY_SERVER,
                )
            ],
            amber=0.7,
            red=0.85,
            most=1,
            alerts=("ParleyNatsStorageFilling", "ParleyNatsStorageFull"),
        ),
        lines(
            "Appended",
            "Records per second that each stream takes.",
            "ops",
            [Query("max by (stream_name) (rate(jetstream_stream_last_seq[$__rate_interval]))", _BY_STREAM)],
        ),
        lines(
            "Replica lag",
            "Records that the slowest replica of a stream lacks. Growing means a node cannot keep up.",
            "short",
            [
                Query(
                    "max by (stream_name) (jetstream_stream_last_seq) - min by (stream_name) "
                    "(jetstream_stream_last_seq)",
                    _BY_STREAM,
                )
            ],
            alerts=("ParleyNatsReplicaLags", "ParleyNatsRecordsMissing"),
        ),
        lines(
            "Replicas",
            "Servers that hold each stream. Fewer than NATS_REPLICAS means a node is away.",
            "short",
            [Query("count by (stream_name) (jetstream_stream_last_seq)", _BY_STREAM)],
            alerts=("ParleyNatsNoQuorum", "ParleyNatsNodeLost"),
        ),
    ),
)

_OURS = Row(
    "As our services see it",
    (
        lines(
            "Connected",
            "1 while every process of a target has its connection. A fall means sends are refused.",
            "none",
            [Query(f"min by (job, instance) (parley_nats_connected{{{CHOSEN}}})", "{{job}} {{instance}}")],
            red=1,
            low_is_bad=True,
            most=1,
            alerts=("ParleyNatsDisconnected",),
        ),
        lines(
            "Reconnects and errors",
            "Connections made again, and errors by kind. A rise means NATS restarts, the network breaks, denied "
            "subjects or slow consumers.",
            "ops",
            [
                Query("sum by (job) (rate(parley_nats_reconnects_total[$__rate_interval]))", "{{job}} reconnects"),
                Query("sum by (kind) (rate(parley_nats_errors_total[$__rate_interval]))", "error {{kind}}"),
            ],
            alerts=("ParleyNatsErrors", "ParleyNatsRestarts"),
        ),
        lines(
            "Append until on disk",
            "Time from handing a record to NATS until it was on disk. A rise means the disk under NATS is slow: the "
            "first thing that every sender feels.",
            "s",
            quantiles("parley_chat_append_seconds"),
            red=0.5,
            alerts=("ParleyAppendSlow",),
        ),
        lines(
            "Records that share a sync",
            "How many records one sync of the disk stored, where several came together; none on a quiet system. A rise "
            "means more load, and is what lets the disk carry it. Refused groups were stored one by one.",
            "short",
            [
                Query(
                    "sum(rate(parley_chat_grouped_appends_total[$__rate_interval])) / "
                    'sum(rate(parley_chat_append_groups_total{result="stored"}[$__rate_interval]))',
                    "records per group",
                ),
                Query(
                    'sum(rate(parley_chat_append_groups_total{result!="stored"}[$__rate_interval]))',
                    "not together/s",
                ),
            ],
        ),
        lines(
            "Archive lag",
            "Records of the log that are not yet in the archive. A rise means the database is slow or away; history "
            "lags.",
            "short",
            [Query("parley:chat_archive_lag_records:min", "records")],
            amber=100,
            red=1000,
            alerts=("ParleyArchiveLags", "ParleyArchiveStuck"),
        ),
        lines(
            "Archive position",
            "Where in the log the archive is, beside the log's end. Standing still while the log grows means it is "
            "stuck.",
            "short",
            [
                Query("parley:chat_archive_position:max", "archive"),
                Query('max(jetstream_stream_last_seq{stream_name="ROOMS"})', "log"),
            ],
            alerts=("ParleyArchiveStuck",),
        ),
        lines(
            "Archive of another log",
            "1 while the archive is not of the log that is there, as after a restore of one alone. History is refused "
            "until an operator decides.",
            "none",
            [Query("max(parley_chat_archive_misfit)", "misfit")],
            red=1,
            alerts=("ParleyArchiveMisfit",),
        ),
        lines(
            "Archive at work",
            "Records taken as they were heard or read from the log, batches stored or lost to another replica, "
            "attempts that failed, and records that could not be read. Records from the log mean that the archive was "
            "behind; failures name what is away; any unreadable record means something else wrote to the log.",
            "ops",
            [
                Query(
                    "sum by (source) (rate(parley_chat_archive_records_total[$__rate_interval]))", "records: {{source}}"
                ),
                Query(
                    "sum by (result) (rate(parley_chat_archive_batches_total[$__rate_interval]))", "batches {{result}}"
                ),
                Query(
                    "sum by (cause) (rate(parley_chat_archive_failures_total[$__rate_interval]))", "failed: {{cause}}"
                ),
                Query("sum(rate(parley_chat_poison_records_total[$__rate_interval]))", "unreadable"),
            ],
            alerts=("ParleyPoisonRecord",),
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-nats",
    "Parley: NATS and JetStream",
    "How the servers, the streams and the archive behind them fare.",
    "parley_nats_connected",
    (_NOW, _SERVERS, _STREAMS, _OURS),
)
