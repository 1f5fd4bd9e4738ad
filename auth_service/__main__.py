"""`python -m auth_service`: serve, or look after the database, the keys and the accounts."""

import argparse
import asyncio
import sys

from auth_service.app import create, open_database
from auth_service.commands import Commands, Failed
from auth_service.settings import Settings
from chassis import logs, server
from chassis.database import DatabaseUnavailable


def main() -> int:
    """Do what the command line says; return the exit code."""
    arguments = _parser().parse_args()
    settings = Settings.load_or_exit()
    logs.configure("auth", settings.log_level, settings.log_format)
    if arguments.command not in (None, "serve"):
        return asyncio.run(_carry_out(arguments, settings))
    server.serve(create(settings), settings, settings.auth_port, settings.auth_internal_port)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m auth_service", description="The auth service of Parley.")
    names = "{serve,migrate,rotate-keys,ban,unban}"
    commands = parser.add_subparsers(dest="command", title="commands", metavar=names)
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    commands.add_parser("migrate", help="bring the tables up to date, say what was done, end")
    rotate = commands.add_parser("rotate-keys", help="publish the next signing key, then end")
    rotate.add_argument(
        "--compromised",
        action="store_true",
        help="sign with the new key at once and withdraw the others, which ends every access token and the connections "
        "made with them; clients come back with a new token",
    )
    ban = commands.add_parser("ban", help="shut an account out: end its sessions and connections, let it not sign in")
    unban = commands.add_parser("unban", help="let a banned account sign in again")
    for command in (ban, unban):
        whom = command.add_mutually_exclusive_group(required=True)
        whom.add_argument("--name", default="", help="its username")
        whom.add_argument("--id", default="", help="its id, as in events and in /auth/me; guests have nothing else")
    return parser


async def _carry_out(arguments: argparse.Namespace, settings: Settings) -> int:
    database = open_database(settings)
    try:
        told = await _command(arguments, Commands(settings, database))
    except Failed as error:
        sys.stderr.write(f"parley: {error}\n")
        return 1
    except DatabaseUnavailable as error:
        sys.stderr.write(f"parley: the database cannot be reached: {error}\n")
        return 1
    finally:
        await database.close()
    sys.stdout.write(f"{told}\n")
    return 0


async def _command(arguments: argparse.Namespace, commands: Commands) -> str:
    if arguments.command == "migrate":
        return await commands.migrate()
    if arguments.command == "rotate-keys":
        return await (commands.replace_keys() if arguments.compromised else commands.rotate())
    return await (commands.ban if arguments.command == "ban" else commands.unban)(arguments.name, arguments.id)


if __name__ == "__main__":
    raise SystemExit(main())
