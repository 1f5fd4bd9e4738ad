"""Write docs/asyncapi.json: the client protocol as an AsyncAPI 3.0 document, from the types that speak it.

python -m docs.asyncapi           write the document
python -m docs.asyncapi --check   exit 1 when the document is out of date
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from chassis.app import VERSION
from chat_service.notices import Notice
from protocol import client, codes, commands, events

PAGE = Path(__file__).parent / "asyncapi.json"
METHODS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    "room.create": (commands.CreateRoom, commands.RoomResult),
    "room.list": (commands.Nothing, commands.Rooms),
    "room.join": (commands.InRoom, commands.RoomResult),
    "room.leave": (commands.InRoom, commands.Left),
    "room.remove": (commands.MemberOfRoom, commands.Left),
    "room.readmit": (commands.MemberOfRoom, commands.Readmitted),
    "room.members": (commands.InRoom, commands.Members),
    "room.history": (commands.ReadHistory, commands.History),
    "room.read": (commands.MarkRead, commands.Nothing),
    "message.send": (commands.SendMessage, commands.Sent),
}
"""RPC method to the types of its data and of its result."""


_PLAIN: dict[type, dict[str, Any]] = {
    inspect.IntType: {"type": "integer"},
    inspect.FloatType: {"type": "number"},
    inspect.StrType: {"type": "string"},
    inspect.BoolType: {"type": "boolean"},
    inspect.RawType: {},  # JSON of the application
    inspect.NoneType: {"type": "null"},
}


def schema_of(kind: inspect.Type, components: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a type, putting those of structs into `components`."""
    plain = _PLAIN.get(type(kind))
    if plain is not None:
        return dict(plain)
    if isinstance(kind, inspect.ListType):
        return {"type": "array", "items": schema_of(kind.item_type, components)}
    if isinstance(kind, inspect.DictType):
        return {"type": "object", "additionalProperties": schema_of(kind.value_type, components)}
    if isinstance(kind, inspect.UnionType):
        kinds = [schema_of(one, components) for one in kind.types if not isinstance(one, inspect.NoneType)]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    assert isinstance(kind, inspect.StructType), kind
    name = kind.cls.__name__
    if name not in components:
        components[name] = {}  # a type may hold itself
        components[name] = {
            "type": "object",
            "description": (kind.cls.__doc__ or "").split("\n")[0],
            "properties": {one.encode_name: schema_of(one.type, components) for one in kind.fields},
            "required": [one.encode_name for one in kind.fields if one.required],
        }
    return {"$ref": f"#/components/schemas/{name}"}


def document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    types: list[Any] = [client.Command, client.Reply, events.Event, Notice]
    types += [one for pair in METHODS.values() for one in pair]
    components: dict[str, Any] = {}
    by_type = {one: schema_of(inspect.type_info(one), components) for one in types}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Parley client protocol",
            "version": VERSION,
            "description": "JSON encoding. docs/protocol.md says what each part means, and has the Protobuf form.",
            "license": {"name": "MIT"},
        },
        "servers": {"gateway": {"host": "localhost:8000", "pathname": "/connection/websocket", "protocol": "ws"}},
        "channels": {
            "connection": {
                "address": "/connection/websocket",
                "messages": {
                    "command": {"$ref": "#/components/messages/command"},
                    "reply": {"$ref": "#/components/messages/reply"},
                },
            }
        },
        "operations": {
            "send": {"action": "receive", "channel": {"$ref": "#/channels/connection"}, **_of("command")},
            "push": {"action": "send", "channel": {"$ref": "#/channels/connection"}, **_of("reply")},
        },
        "components": {
            "messages": {
                "command": {"payload": by_type[client.Command], "x-requests": list(client.REQUESTS)},
                "reply": {"payload": by_type[client.Reply]},
            },
            "schemas": components,
        },
        "x-rpc": {name: {"data": by_type[ask], "result": by_type[answer]} for name, (ask, answer) in METHODS.items()},
        "x-events": {"room": by_type[events.Event], "user": by_type[Notice]},
        "x-errors": {str(e.code): {"message": e.message, "temporary": e.temporary} for e in codes.ERRORS.values()},
        "x-disconnects": {
            str(d.code): {"reason": d.reason, "reconnect": d.reconnect} for d in codes.DISCONNECTS.values()
        },
        "x-unsubscribes": {str(u.code): {"reason": u.reason} for u in codes.UNSUBSCRIBES.values()},
    }


def _of(message: str) -> dict[str, Any]:
    return {"messages": [{"$ref": f"#/channels/connection/messages/{message}"}]}


def text() -> str:
    """Return the document as it stands in the file."""
    return json.dumps(document(), indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write or check the document; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.asyncapi", description="The wire as an AsyncAPI document.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the document is out of date")
    made = text()
    if parser.parse_args().check:
        return int(not PAGE.exists() or PAGE.read_text() != made)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
