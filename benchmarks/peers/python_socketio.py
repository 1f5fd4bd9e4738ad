"""Rooms on python-socketio, over WebSocket alone; ?room= names a client's room. Run by uvicorn."""

from urllib.parse import parse_qs

import socketio

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], http_compression=False)
app = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, str]) -> None:
    """Put a client into its room."""
    room = parse_qs(environ["QUERY_STRING"])["room"][0]
    await server.save_session(sid, {"room": room})
    await server.enter_room(sid, room)


@server.on("m")
async def said(sid: str, text: str) -> None:
    """Send the room what one of them says."""
    session = await server.get_session(sid)
    await server.emit("m", text, room=session["room"])
