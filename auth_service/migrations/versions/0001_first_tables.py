"""Accounts, failures, sessions, refresh tokens, tickets, revocations, keys, secrets.

A migration is history: it spells its tables out and does not follow `models.py` as that changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _accounts()
    _sessions()
    _keys()


def _accounts() -> None:
    op.create_table(
        "auth_accounts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("username", sa.String(32), nullable=True),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("guest", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("username", name="auth_accounts_username"),
    )
    op.create_index("auth_accounts_guest_created", "auth_accounts", ["guest", "created_at"])
    op.create_table(
        "auth_failures",
        sa.Column("name_hash", sa.String(64), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("blocked_until", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False, index=True),
    )


def _sessions() -> None:
    op.create_table(
        "auth_sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(32), _to("auth_accounts"), nullable=False, index=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
        sa.Column("revoked_at", sa.Double, nullable=True, index=True),
    )
    op.create_table(
        "auth_refresh_tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("session_id", sa.String(32), _to("auth_sessions"), nullable=False, index=True),
        sa.Column("used_at", sa.Double, nullable=True, index=True),
    )
    op.create_table(
        "auth_tickets",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("session_id", sa.String(32), _to("auth_sessions"), nullable=False, index=True),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
        sa.Column("access_expires_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "auth_revocations",
        sa.Column("session_id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("at", sa.Double, nullable=False, index=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("published", sa.Boolean, nullable=False, index=True),
    )


def _keys() -> None:
    op.create_table(
        "auth_keys",
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kid", sa.String(32), nullable=False, unique=True),
        sa.Column("private_pem", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("signs_from", sa.Double, nullable=False),
    )
    op.create_table(
        "auth_secrets",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )


def _to(table: str) -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
