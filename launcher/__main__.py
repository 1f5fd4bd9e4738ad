"""`python -m launcher`: run Parley on this machine until Ctrl-C."""

import argparse
import asyncio
import sys
from pathlib import Path

from chassis.settings import BadSetting, environment
from launcher import parts, passwords, preflight
from launcher.guard import Guard
from launcher.parts import Part
from launcher.process import Plan
from launcher.ring import Ring
from launcher.say import say
from launcher.settings import LauncherSettings

EXIT_REFUSED = 2


def main() -> int:
    """Check everything, then run everything; return the exit code (0 stopped as asked, 1 failed, 2 could not start)."""
    options = _options()
    try:
        settings = LauncherSettings.load()
        listed = parts.read_procfile(parts.PROCFILE.read_text(), settings)
        graces = {part.name: parts.check_settings(part) for part in listed}
        data_dir = preflight.prepare_directory(settings.data_dir)
        lock = preflight.lock_directory(data_dir)
        preflight.check_ports(listed)
        plans = _plans(listed, graces, settings, data_dir)
    except BadSetting as error:
        return _refuse(f"bad setting {error}")
    except (preflight.Refused, parts.BadProcfile, OSError) as error:
        return _refuse(str(error))
    guard = Guard(lock)
    try:
        return asyncio.run(Ring(settings, plans, guard).run(options.verbose))
    finally:
        guard.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m launcher",
        description="Run Parley here: NATS, the auth service, the chat service, the gateway. Ctrl-C stops it.",
        epilog="Settings come from the environment (docs/operations.md): GATEWAY_PORT, AUTH_PORT, CHAT_PORT, "
        "NATS_PORT, DATA_DIR, GATEWAY_WORKERS and more.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show every part's log, each line with its name")
    return parser.parse_args()


def _plans(
    listed: list[Part], graces: dict[str, float], settings: LauncherSettings, data_dir: Path
) -> list[tuple[Part, Plan]]:
    """Return how each part is to be run; `graces` are the seconds that they ask for to end."""
    base = environment()
    if base.get("NATS_URL"):
        say("NATS_URL is not used here: this command runs its own NATS")
    secrets = passwords.load_or_make(data_dir / "secrets")
    plans = []
    for part in listed:
        program = parts.program(part, base.get("PATH", ""))
        if program is None:
            raise preflight.Refused(f"{part.command[0]} is missing; `make run` installs it")
        own = parts.environment(part, base, data_dir, secrets)
        log = settings.data_dir / "logs" / f"{part.name}.log"
        patience = parts.patience(graces[part.name], base, settings)
        plans.append((part, Plan(part.name, [program, *part.command[1:]], own, log, parts.ROOT, patience)))
    return plans


def _refuse(why: str) -> int:
    say(why)
    return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
