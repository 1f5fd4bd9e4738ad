"""The chat service decides what was said: the only writer of the room log."""
