"""`make run`: starts the ring on one machine, keeps it running, stops it, and leaves no process behind.

Knows the services by the Procfile and their health pages only.
"""
