"""The first shape of the archive."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MESSAGES = sa.text("type = 'message'")


def upgrade() -> None:
    """Make the tables, with the position at the beginning of no epoch."""
    op.create_table(
        "chat_rooms",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("created_at", "offset", "sequence", "number", "time", "members")
        ),
    )
    op.create_table(
        "chat_members",
        sa.Column("room", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("joined_offset", sa.BigInteger, nullable=False),
    )
    op.create_index("chat_members_by_user", "chat_members", ["user_id", "room"])
    op.create_table(
        "chat_events",
        sa.Column("room", sa.Text, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
        sa.Column("v", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
    )
    for name, columns, unique in (
        ("chat_events_once", ["room", "user_id", "client_id"], True),
        ("chat_events_by_number", ["room", "number"], False),
    ):
        op.create_index(name, "chat_events", columns, unique=unique, sqlite_where=_MESSAGES, postgresql_where=_MESSAGES)
    position = op.create_table(
        "chat_position",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(position, [{"id": 1, "epoch": "", "sequence": 0}])


def downgrade() -> None:
    """Drop the archive; the log has it all."""
    for name in ("chat_position", "chat_events", "chat_members", "chat_rooms"):
        op.drop_table(name)
