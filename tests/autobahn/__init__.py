"""Autobahn's fuzzing client against the gateway's WebSocket: `make autobahn`."""
