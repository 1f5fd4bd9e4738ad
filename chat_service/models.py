"""The tables of the archive: the log of all rooms, laid out for questions.

Everything here can be dropped and made again from the log. Times are milliseconds since the epoch. Texts have no length
limits of their own: what the log has accepted must fit.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, text

metadata = MetaData()

rooms = Table(
    "chat_rooms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False, comment="offset of the newest event"),
    Column("sequence", BigInteger, nullable=False, comment="stream sequence of the newest record"),
    Column("number", BigInteger, nullable=False, comment="number of the newest message"),
    Column("time", BigInteger, nullable=False, comment="time of the newest event"),
    Column("members", BigInteger, nullable=False, comment="how many are in the room"),
)

members = Table(
    "chat_members",
    metadata,
    Column("room", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("joined_offset", BigInteger, nullable=False),
    Index("chat_members_by_user", "user_id", "room"),
)

removed = Table(
    "chat_removed",
    metadata,
    Column("room", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("removed_offset", BigInteger, nullable=False),
)

events = Table(
    "chat_events",
    metadata,
    Column("room", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("v", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False, comment="0 unless a message"),
    Column("client_id", Text, nullable=False, comment="the id its author gave a message, else empty"),
    Column("text", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("by_id", Text, nullable=True, comment="who removed or readmitted the user, else NULL"),
    Column("by_name", Text, nullable=True),
    # Idempotency for ever: one message per room, author and id.
    Index(
        "chat_events_once",
        "room",
        "user_id",
        "client_id",
        unique=True,
        sqlite_where=text("type = 'message'"),
        postgresql_where=text("type = 'message'"),
    ),
    # The newest messages of a room, for its receipts.
    Index(
        "chat_events_by_number",
        "room",
        "number",
        sqlite_where=text("type = 'message'"),
        postgresql_where=text("type = 'message'"),
    ),
)

position = Table(
    "chat_position",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="always 1: the table has one row"),
    Column("epoch", Text, nullable=False, comment="epoch of the stream the archive is made of"),
    Column("sequence", BigInteger, nullable=False, comment="newest record archived; all before it are too"),
)
