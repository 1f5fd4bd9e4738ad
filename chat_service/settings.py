"""Every number of the chat service, with what it bounds."""

from typing import ClassVar

from pydantic import Field

from chassis import settings
from chassis.settings import Seconds

Count = int


class Settings(settings.Settings):
    """Settings of the chat service, read from the environment under the upper-case names of the fields."""

    SERVICE: ClassVar[str] = "chat"

    database_url: str = Field(
        default="", description="postgresql:// URL of the archive; default a SQLite file in DATA_DIR."
    )
    chat_in_flight: Count = Field(
        default=256, ge=1, description="Commands worked on at once by one process; more are answered 503 at once."
    )
    chat_command_seconds: Seconds = Field(
        default=1.3, description="Deadline of one command, waiting included; below the gateway's 1.5 s."
    )
    chat_append_attempts: Count = Field(
        default=32, ge=1, description="How often one command may lose the race for a room's next offset."
    )
    chat_rooms_cached: Count = Field(
        default=1000, ge=1, description="Room states kept in memory by one process; the least used go first."
    )
    chat_receipts: Count = Field(
        default=512, ge=1, description="Newest messages of a room whose ids are known without asking the archive."
    )
    chat_duplicate_window_seconds: Count = Field(
        default=600, ge=600, description="How long NATS itself refuses a repeated message id; used when it makes ROOMS."
    )
    chat_catch_up_seconds: Seconds = Field(
        default=1.0, description="How long a read waits for the archive to have what was written before it."
    )
    chat_archive_batch: Count = Field(
        default=1024, ge=1, le=1024, description="Most records of the log archived in one transaction."
    )
    chat_archive_gather_seconds: float = Field(
        default=0.25, ge=0, description="How long the archiver lets records gather when no read waits for it."
    )
    chat_archive_idle_seconds: Seconds = Field(
        default=1.0, description="How often the archiver looks at the log when nothing wakes it."
    )
    chat_archive_retry_seconds: Seconds = Field(
        default=5.0, description="Longest pause of the archiver between attempts while the database or NATS is away."
    )
    chat_rooms_listed: Count = Field(default=1000, ge=1, description="Most rooms in one answer to room.list.")
    chat_members_listed: Count = Field(default=1000, ge=1, description="Most members in one answer to room.members.")
    chat_drain_seconds: Seconds = Field(
        default=2.0, description="How long commands in work may take to end after SIGTERM."
    )
