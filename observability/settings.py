"""Settings of the NATS exporter."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from chassis.settings import CommaSeparated, Port, Seconds, Settings


class ExporterSettings(Settings):
    """What the NATS exporter needs besides what every process has."""

    nats_exporter_port: Port = Field(default=7777, description="Port of the NATS exporter (health, metrics).")
    nats_monitor_urls: CommaSeparated = Field(
        default=["http://127.0.0.1:8222"],
        description="Monitoring addresses of all nats-servers, by comma; one that does not answer is shown as down.",
    )
    nats_monitor_seconds: Seconds = Field(
        default=3,
        description="Deadline of all questions to one nats-server at a scrape; below Prometheus's scrape_timeout.",
    )

    @field_validator("nats_monitor_urls")
    @classmethod
    def _http_addresses(cls, urls: list[str]) -> list[str]:
        """Refuse what could never answer: it would look like a server that is down."""
        for url in urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"{url} is no http:// address")
        return urls
