"""`python -m chat_service`: serve; `migrate` and `rebuild-archive` do one thing and end."""

import argparse
import asyncio

from chassis import logs
from chassis.server import serve
from chat_service import rebuild
from chat_service.app import create
from chat_service.settings import Settings


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="chat_service", description="The chat service of Parley.")
    actions = parser.add_subparsers(dest="action", metavar="command")
    actions.add_parser("serve", help="serve until SIGTERM (the default)")
    actions.add_parser("migrate", help="bring the archive's tables up to date, then end")
    actions.add_parser(
        "rebuild-archive",
        help="empty the archive and make it again from the room log, then end; the service may go on meanwhile",
    )
    action = parser.parse_args().action or "serve"
    settings = Settings.load_or_exit()
    logs.configure(settings.SERVICE, settings.log_level, settings.log_format)
    if action == "migrate":
        asyncio.run(rebuild.migrate(settings))
    elif action == "rebuild-archive":
        asyncio.run(rebuild.rebuild_archive(settings))
    else:
        serve(create(settings), settings, settings.chat_port)


if __name__ == "__main__":
    main()
