"""Who was removed from which room, and by whom."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is empty for every event of before: nobody could be removed then."""
    op.add_column("chat_events", sa.Column("by_id", sa.Text, nullable=True))
    op.add_column("chat_events", sa.Column("by_name", sa.Text, nullable=True))
    op.create_table(
        "chat_removed",
        sa.Column("room", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("removed_offset", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop what was added."""
    op.drop_table("chat_removed")
    op.drop_column("chat_events", "by_name")
    op.drop_column("chat_events", "by_id")
