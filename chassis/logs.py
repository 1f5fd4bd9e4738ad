"""Structured logs: one JSON object a line, or coloured text on a terminal.

What may be logged: ids, codes, counts, durations. Never a token, a password, a query string or what a person wrote.
Fields are listed in docs/operations.md.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET = ("token", "password", "ticket", "authorization", "cookie", "secret", "text")


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values whose key names a secret: the last net under callers that should not pass them."""
    for key in event:
        if key != "event" and any(word in key.lower() for word in _SECRET):
            event[key] = "[redacted]"
    return event


def configure(service: str, level: str, form: str) -> None:
    """Set up logging of this process: `level` as in LOG_LEVEL, `form` one of auto, json, console."""
    json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        # First of all by level: what is not written must not be made, least of all for each connection.
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These write query strings (tickets), SQL with its values, or a traceback per bad frame; our own lines do not.
    for name in ("uvicorn.access", "httpx", "httpcore", "aiosqlite", "sqlalchemy", "alembic", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "gunicorn.error"):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
        library.setLevel(logging.WARNING)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of the module `name`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
