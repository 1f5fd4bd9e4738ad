"""The tables. Times are seconds since the epoch; secrets that clients hold are kept as SHA-256 only."""

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION_TABLE = "auth_alembic_version"

metadata = MetaData()

accounts = Table(
    "auth_accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("username", String(32), nullable=True),  # folded; NULL for guests
    Column("name", String(40), nullable=False),
    Column("guest", Boolean, nullable=False),
    Column("password_hash", Text, nullable=True),
    Column("created_at", Double, nullable=False),
    Column("banned_at", Double, nullable=True),
    Column("bans", Integer, nullable=False, server_default="0"),  # how often it was banned so far
    UniqueConstraint("username", name="auth_accounts_username"),
    Index("auth_accounts_guest_created", "guest", "created_at"),
)

# Keyed by a hash of the name tried, whether or not such an account exists: both must look alike from outside.
failures = Table(
    "auth_failures",
    metadata,
    Column("name_hash", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("blocked_until", Double, nullable=False),
    Column("last_at", Double, nullable=False, index=True),
)

sessions = Table(
    "auth_sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", ForeignKey("auth_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("revoked_at", Double, nullable=True, index=True),
)

refresh_tokens = Table(
    "auth_refresh_tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("session_id", ForeignKey("auth_sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("used_at", Double, nullable=True, index=True),
)

tickets = Table(
    "auth_tickets",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("session_id", ForeignKey("auth_sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("access_expires_at", Integer, nullable=False),
    Column("kid", String(32), nullable=False, server_default=""),  # the key of the access token it was made with
)

# An outbox: written with the revocation, published until NATS has acknowledged it. It outlives its session's row.
revocations = Table(
    "auth_revocations",
    metadata,
    Column("session_id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("at", Double, nullable=False, index=True),
    Column("reason", String(32), nullable=False),
    Column("published", Boolean, nullable=False, index=True),
)

# The same for what ends more than one session: the ban of an account, the withdrawal of a key.
announcements = Table(
    "auth_announcements",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),  # user or key
    Column("about", String(32), nullable=False),
    Column("bans", Integer, nullable=False),  # of a user, this one included
    Column("at", Double, nullable=False, index=True),
    Column("reason", String(32), nullable=False),
    Column("published", Boolean, nullable=False, index=True),
)

# A key's state follows from these times and the clock, so no replica has to move it from state to state.
keys = Table(
    "auth_keys",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("kid", String(32), nullable=False, unique=True),
    Column("private_pem", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("signs_from", Double, nullable=False),
)

secrets = Table(
    "auth_secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(64), nullable=False),
)
