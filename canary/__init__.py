"""The canary: a client from outside that chats all day, and counts what did not come, came twice or out of order.

It imports the chassis and the grammar of names, and nothing that knows how a room, the log or NATS work: what it sees
is what every client sees.
"""
