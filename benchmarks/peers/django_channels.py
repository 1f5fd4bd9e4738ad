"""Rooms on Django Channels with its Redis layer, as its tutorial has them; ?room= names a client's room.

Run by uvicorn, with the address of Redis in REDIS_URL.
"""

import os
from urllib.parse import parse_qs

from django.conf import settings

LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
settings.configure(
    SECRET_KEY="of a benchmark",  # noqa: S106  # nothing is signed here
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": LAYER, "CONFIG": {"hosts": [os.environ["REDIS_URL"]]}}},
)

import django  # noqa: E402  # the settings come first
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402

django.setup()


class Chat(AsyncWebsocketConsumer):
    """One client."""

    async def connect(self) -> None:
        """Put it into its room."""
        self.room = "room" + parse_qs(self.scope["query_string"].decode())["room"][0]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Take it out again."""
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send the room what it says."""
        await self.channel_layer.group_send(self.room, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, str]) -> None:
        """Hear what somebody said."""
        await self.send(text_data=event["text"])


app = Chat.as_asgi()
