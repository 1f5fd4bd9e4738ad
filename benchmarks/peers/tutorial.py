"""The FastAPI tutorial's ConnectionManager, by room. Run by uvicorn."""

from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
rooms: dict[str, list[WebSocket]] = defaultdict(list)


@app.websocket("/ws")
async def chat(websocket: WebSocket, room: str) -> None:
    """Send everybody what anybody says."""
    await websocket.accept()
    rooms[room].append(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for one in rooms[room]:
                await one.send_text(text)
    except WebSocketDisconnect:
        rooms[room].remove(websocket)
