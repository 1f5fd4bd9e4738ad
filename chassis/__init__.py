"""How a service stands: settings, logs, metrics, health, lifecycle, bus, streams, database, server. No chat here."""
