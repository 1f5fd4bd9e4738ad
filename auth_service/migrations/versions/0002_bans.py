"""Bans, the announcements that are not about one session, and the key behind each ticket.

A migration is history: it spells its tables out and does not follow `models.py` as that changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add to the tables what replicas of before need not know."""
    op.add_column("auth_accounts", sa.Column("banned_at", sa.Double, nullable=True))
    op.add_column("auth_accounts", sa.Column("bans", sa.Integer, nullable=False, server_default="0"))
    op.add_column("auth_tickets", sa.Column("kid", sa.String(32), nullable=False, server_default=""))
    op.create_table(
        "auth_announcements",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("about", sa.String(32), nullable=False),
        sa.Column("bans", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False, index=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("published", sa.Boolean, nullable=False, index=True),
    )
