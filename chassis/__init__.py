"""How a service stands: settings, logs, metrics, health, lifecycle, the bus, the database, the server. No chat in here."""
