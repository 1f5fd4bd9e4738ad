"""`python -m auth_service`: serve, or look after the database and the keys."""

import argparse
import asyncio
import sys

from auth_service.app import MIGRATIONS, create, open_database
from auth_service.keyring import Keyring
from auth_service.models import VERSION_TABLE
from auth_service.settings import Settings
from chassis import logs, server
from chassis.database import BEHIND, DatabaseUnavailable


def main() -> int:
    """Do what the command line says; return the exit code."""
    arguments = _parser().parse_args()
    settings = Settings.load_or_exit()
    logs.configure("auth", settings.log_level, settings.log_format)
    if arguments.command == "migrate":
        return asyncio.run(_migrate(settings))
    if arguments.command == "rotate-keys":
        return asyncio.run(_rotate(settings, compromised=arguments.compromised))
    server.serve(create(settings), settings, settings.auth_port, settings.auth_internal_port)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m auth_service", description="The auth service of Parley.")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="{serve,migrate,rotate-keys}")
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    commands.add_parser("migrate", help="bring the tables up to date, say what was done, end")
    rotate = commands.add_parser("rotate-keys", help="publish the next signing key, then end")
    rotate.add_argument(
        "--compromised",
        action="store_true",
        help="sign with the new key at once and forget the others, which ends every access token",
    )
    return parser


async def _migrate(settings: Settings) -> int:
    database = open_database(settings)
    try:
        before = await database.migrate(MIGRATIONS, VERSION_TABLE)
    except DatabaseUnavailable as error:
        sys.stderr.write(f"parley: the database cannot be reached: {error}\n")
        return 1
    finally:
        await database.close()
    sys.stdout.write(f"auth: {before.told()}\n")
    return 0


async def _rotate(settings: Settings, *, compromised: bool) -> int:
    database = open_database(settings)
    try:
        if settings.migrate_on_start:
            await database.migrate(MIGRATIONS, VERSION_TABLE)
        elif (await database.schema(MIGRATIONS, VERSION_TABLE)).behind:
            sys.stderr.write(f"parley: {BEHIND}\n")
            return 1
        key = await Keyring(database, settings).rotate(compromised=compromised)
    except DatabaseUnavailable as error:
        sys.stderr.write(f"parley: the database cannot be reached: {error}\n")
        return 1
    finally:
        await database.close()
    when = "now" if compromised else f"at {key.signs_from:.0f} (seconds since the epoch)"
    sys.stdout.write(f"key {key.kid} is published and signs from {when}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
