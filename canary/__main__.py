"""`python -m canary`: chat and judge until SIGTERM."""

import argparse
import logging
import signal
from types import FrameType

from canary import metrics
from canary.app import create
from canary.settings import Settings
from chassis import logs
from chassis.server import serve


def main() -> None:
    """Read the settings, take off what is not ours to tell, serve."""
    argparse.ArgumentParser(
        prog="python -m canary",
        description="Chat through the public address of a Parley, and count messages lost, duplicated and reordered. "
        "Settings come from the environment (CANARY_URL and others): docs/operations.md.",
    ).parse_args()
    settings = Settings.load_or_exit()
    logs.configure("canary", settings.log_level, settings.log_format)
    for library in ("centrifuge", "websockets"):  # at debug they write every frame, with its tokens
        logging.getLogger(library).setLevel(logging.WARNING)
    metrics.leave_out_nats()
    # uvicorn ends at the first signal by itself, and raises it once more when all is closed: then this ends with 0.
    signal.signal(signal.SIGTERM, _end)
    serve(create(settings), settings, settings.canary_port)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
