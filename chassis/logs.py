"""Structured logs: one JSON object a line, or coloured text on a terminal.

What may be logged: ids, codes, counts, durations. Never a token, a password, a query string or what a person wrote.
Fields are listed in docs/operations.md.
"""

import logging
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

_SECRET = ("token", "password", "ticket", "authorization", "cookie", "secret", "text")


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values whose key names a secret: the last net under callers that should not pass them."""
    for key in event:
        if _names_secret(key):
            event[key] = "[redacted]"
    return event


@lru_cache(maxsize=1024)  # field names are few, and looked at in every line
def _names_secret(key: str) -> bool:
    return key != "event" and any(word in key.lower() for word in _SECRET)


class _Lines:
    """Writes lines. One that cannot be written is lost, as the standard library has it: a full disk ends no work."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def info(self, line: str) -> None:
        """Write one."""
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except (OSError, ValueError):  # the latter when it is closed
            pass

    debug = warning = error = critical = exception = info


def configure(service: str, level: str, form: str) -> None:
    """Set up logging of this process: `level` as in LOG_LEVEL, `form` one of auto, json, console.

    Our own lines go straight to standard error: by way of the standard library each costs twice as much, which counts
    where ten thousand clients come and go at once. What libraries write through that looks the same.
    """
    json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=lambda *_: _Lines(sys.stderr),
        # By level before all else: what is not written must not be made, least of all for each connection.
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
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


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of the module `name`."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger
