"""HTTP of the chat service: what health needs. Commands come over NATS."""

from chassis.bus import Bus
from chassis.database import Database
from chassis.health import Health
from chat_service.archive import Archive
from chat_service.log import Log


def require(health: Health, bus: Bus, database: Database, room_log: Log, archive: Archive) -> None:
    """Make readiness say what is missing of all that a chat service needs."""
    health.require("nats", bus.ready)
    health.require("database", database.ready)
    health.require("log", room_log.ready)
    health.require("archive", archive.ready)
