"""`python -m observability.nats_exporter`: show Prometheus what nats-servers tell on their monitoring ports.

Each scrape asks every server of NATS_MONITOR_URLS for /varz, /jsz and /healthz, all at once and with a deadline, and
answers with the names and labels of NATS's own exporter (prometheus-nats-exporter), so that a team may run that one
instead. Ours besides: `gnatsd_up`. `server_id` is the server's address as set, so it stays the same while that is down.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chassis import app as frame
from chassis import logs, metrics, server
from chassis.health import Health
from observability.settings import ExporterSettings

log = logs.get(__name__)

Json = dict[str, Any]
SERVER = ("server_id",)
JETSTREAM = (*SERVER, "server_name", "cluster", "domain", "meta_leader", "is_meta_leader")
STREAM = (*JETSTREAM, "account", "account_id", "stream_name", "stream_leader", "is_stream_leader")
CONSUMER = (
    *STREAM, "consumer_name", "consumer_leader", "is_consumer_leader", "consumer_desc", "consumer_created",
)  # fmt: skip

# Metric without its prefix: where the value stands in the answer.
VARZ = {
    "connections": "connections",
    "total_connections": "total_connections",
    "max_connections": "max_connections",
    "subscriptions": "subscriptions",
    "in_msgs": "in_msgs",
    "out_msgs": "out_msgs",
    "in_bytes": "in_bytes",
    "out_bytes": "out_bytes",
    "slow_consumers": "slow_consumers",
    "stale_connections": "stale_connections",
    "mem": "mem",
    "cpu": "cpu",
    "cores": "cores",
    "routes": "routes",
    "max_payload": "max_payload",
    "max_pending": "max_pending",
    "jetstream_config_max_memory": "jetstream.config.max_memory",
    "jetstream_config_max_storage": "jetstream.config.max_storage",
    "jetstream_stats_memory": "jetstream.stats.memory",
    "jetstream_stats_storage": "jetstream.stats.storage",
    "jetstream_stats_ha_assets": "jetstream.stats.ha_assets",
    "jetstream_stats_api_total": "jetstream.stats.api.total",
    "jetstream_stats_api_errors": "jetstream.stats.api.errors",
    "jetstream_meta_cluster_size": "jetstream.meta.cluster_size",
    "jetstream_meta_pending": "jetstream.meta.pending",
}
JSZ = {
    "total_streams": "streams",
    "total_consumers": "consumers",
    "total_messages": "messages",
    "total_message_bytes": "bytes",
    "max_memory": "config.max_memory",
    "max_storage": "config.max_storage",
}
STREAM_STATE = {
    "total_messages": "state.messages",
    "total_bytes": "state.bytes",
    "first_seq": "state.first_seq",
    "last_seq": "state.last_seq",
    "consumer_count": "state.consumer_count",
}
CONSUMER_STATE = {
    "delivered_consumer_seq": "delivered.consumer_seq",
    "delivered_stream_seq": "delivered.stream_seq",
    "ack_floor_consumer_seq": "ack_floor.consumer_seq",
    "ack_floor_stream_seq": "ack_floor.stream_seq",
    "num_ack_pending": "num_ack_pending",
    "num_redelivered": "num_redelivered",
    "num_waiting": "num_waiting",
    "num_pending": "num_pending",
}
NAMES = {
    "gnatsd_up",
    "gnatsd_varz_start",
    "gnatsd_healthz_status",
    "jetstream_server_jetstream_disabled",
    *(f"gnatsd_varz_{name}" for name in VARZ),
    *(f"jetstream_server_{name}" for name in JSZ),
    *(f"jetstream_stream_{name}" for name in STREAM_STATE),
    *(f"jetstream_consumer_{name}" for name in CONSUMER_STATE),
}
"""Every metric that can be on the page; rules and dashboards use no other of NATS."""


@dataclass(frozen=True)
class Reading:
    """What one server answered; None where it did not in time."""

    server: str
    varz: Json | None = None
    jsz: Json | None = None
    healthz: Json | None = None


@dataclass
class Page:
    """The families of one scrape, in the order in which they were first seen."""

    families: dict[str, GaugeMetricFamily] = field(default_factory=dict)

    def add(self, name: str, labels: dict[str, str], value: float) -> None:
        """Add one sample. All of NATS's are gauges there, counters too: `rate()` does not mind."""
        if name not in self.families:
            self.families[name] = GaugeMetricFamily(name, f"{name} of nats-server", labels=list(labels))
        self.families[name].add_metric(list(labels.values()), value)

    def add_found(self, prefix: str, paths: dict[str, str], answer: Json, labels: dict[str, str]) -> None:
        """Add what stands in `answer` at `paths`; left out is what it lacks, as one node does a cluster's size."""
        for name, path in paths.items():
            value = _at(answer, path)
            if isinstance(value, int | float):
                self.add(prefix + name, labels, value)


def families(readings: Iterable[Reading]) -> list[GaugeMetricFamily]:
    """Return the metrics page of these answers."""
    page = Page()
    for reading in readings:
        labels = dict.fromkeys(SERVER, reading.server)
        page.add("gnatsd_up", labels, float(reading.varz is not None))
        if reading.healthz is not None:
            page.add("gnatsd_healthz_status", labels, float(reading.healthz.get("status") != "ok"))  # 0 is well
        if reading.varz is not None:
            page.add_found("gnatsd_varz_", VARZ, reading.varz, labels)
            page.add("gnatsd_varz_start", labels, _milliseconds(reading.varz["start"]))
            if reading.jsz is not None:
                _add_jetstream(page, reading.server, reading.varz, reading.jsz)
    return list(page.families.values())


def _add_jetstream(page: Page, server: str, varz: Json, jsz: Json) -> None:
    name = str(varz.get("server_name", ""))
    meta = jsz.get("meta_cluster") or {}
    labels = dict(zip(JETSTREAM, (
        server, name, meta.get("name", ""), _at(jsz, "config.domain") or "", meta.get("leader", ""), _leads(meta, name),
    ), strict=True))  # fmt: skip
    page.add("jetstream_server_jetstream_disabled", labels, float(bool(jsz.get("disabled"))))
    page.add_found("jetstream_server_", JSZ, jsz, labels)
    for account in jsz.get("account_details") or ():
        for stream in account.get("stream_detail") or ():
            cluster = stream.get("cluster") or {}
            own = (account["name"], account["id"], stream["name"], cluster.get("leader", ""), _leads(cluster, name))
            of_stream = labels | dict(zip(STREAM[len(JETSTREAM) :], own, strict=True))
            page.add_found("jetstream_stream_", STREAM_STATE, stream, of_stream)
            for consumer in stream.get("consumer_detail") or ():
                page.add_found("jetstream_consumer_", CONSUMER_STATE, consumer, _of_consumer(of_stream, consumer, name))


def _of_consumer(of_stream: dict[str, str], consumer: Json, server_name: str) -> dict[str, str]:
    cluster = consumer.get("cluster") or {}
    description = _at(consumer, "config.description") or ""
    own = (
        consumer["name"], cluster.get("leader", ""), _leads(cluster, server_name), description, consumer["created"],
    )  # fmt: skip
    return of_stream | dict(zip(CONSUMER[len(STREAM) :], own, strict=True))


def _leads(cluster: Json, server_name: str) -> str:
    """Tell whether the server leads this group; one that is alone leads."""
    return "true" if not cluster or cluster.get("leader") == server_name else "false"


def _at(answer: Json, path: str) -> Any:
    found: Any = answer
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _milliseconds(text: str) -> float:
    return datetime.fromisoformat(text[:19] + "+00:00").timestamp() * 1000


class NatsServers(Collector):
    """Asks all servers whenever Prometheus asks us; keeps nothing in between."""

    def __init__(self, settings: ExporterSettings) -> None:
        self._settings = settings

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: the registry would ask the servers at the start to learn names."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask, and yield what came within the deadline."""
        yield from families(asyncio.run(self.ask_all()))

    async def ask_all(self) -> list[Reading]:
        """Return one reading for each server, in the order they are set."""
        async with httpx.AsyncClient(trust_env=False, timeout=None) as client:  # noqa: S113  # `_ask` has the deadline
            return await asyncio.gather(*(self._ask(client, url) for url in self._settings.nats_monitor_urls))

    async def _ask(self, client: httpx.AsyncClient, url: str) -> Reading:
        base = url.rstrip("/")
        asked = {
            "varz": f"{base}/varz",
            "jsz": f"{base}/jsz?accounts=true&streams=true&consumers=true&config=true",
            "healthz": f"{base}/healthz",
        }
        answers = await asyncio.gather(*(self._get(client, address) for address in asked.values()))
        return Reading(urlsplit(base).netloc, **dict(zip(asked, answers, strict=True)))

    async def _get(self, client: httpx.AsyncClient, address: str) -> Json | None:
        try:
            async with asyncio.timeout(self._settings.nats_monitor_seconds):
                answer: Json = (await client.get(address)).json()  # /healthz says what is wrong with status 503
                return answer
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            log.debug("nats-server did not answer", address=address, error=type(error).__name__)
            return None


@asynccontextmanager
async def _lifespan(_: object) -> AsyncIterator[None]:
    yield  # nothing to open: each scrape makes its own connections


def main() -> None:
    """Read the settings and serve until SIGTERM."""
    argparse.ArgumentParser(
        prog="python -m observability.nats_exporter",
        description="Prometheus metrics of nats-servers. Settings come from the environment: docs/operations.md.",
    ).parse_args()
    settings = ExporterSettings.load_or_exit()
    logs.configure("nats-exporter", settings.log_level, settings.log_format)
    for metric in (metrics.nats_connected, metrics.nats_reconnects, metrics.nats_errors):
        REGISTRY.unregister(metric)  # this process has no NATS connection to lose
    REGISTRY.register(NatsServers(settings))
    # No health checks: a server that is down is what this page is for, so it must not make us unready.
    app = frame.create("NATS exporter", settings, Health(), _lifespan)
    server.serve(app, settings, settings.nats_exporter_port)


if __name__ == "__main__":
    main()
