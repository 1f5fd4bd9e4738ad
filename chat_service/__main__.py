"""`python -m chat_service`: serve; `migrate` and `rebuild-archive` do one thing and end."""

import argparse
import asyncio
import sys

from chassis import logs
from chassis.database import DatabaseUnavailable
from chassis.server import serve
from chat_service import rebuild
from chat_service.app import create
from chat_service.settings import Settings


def main() -> int:
    """Run the command that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(prog="chat_service", description="The chat service of Parley.")
    actions = parser.add_subparsers(dest="action", metavar="command")
    actions.add_parser("serve", help="serve until SIGTERM (the default)")
    actions.add_parser("migrate", help="bring the archive's tables up to date, say what was done, end")
    actions.add_parser(
        "rebuild-archive",
        help="empty the archive and make it again from the room log, then end; the service may go on meanwhile",
    )
    action = parser.parse_args().action or "serve"
    settings = Settings.load_or_exit()
    logs.configure(settings.SERVICE, settings.log_level, settings.log_format)
    try:
        if action == "migrate":
            sys.stdout.write(f"chat: {asyncio.run(rebuild.migrate(settings)).told()}\n")
            return 0
        if action == "rebuild-archive":
            asyncio.run(rebuild.rebuild_archive(settings))
            return 0
    except DatabaseUnavailable as error:
        sys.stderr.write(f"parley: the database cannot be reached: {error}\n")
        return 1
    serve(create(settings), settings, settings.chat_port)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
