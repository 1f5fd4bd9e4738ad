"""`python -m observability.dashboards`: write the Grafana dashboards as JSON, or check that they are up to date."""

import argparse
import json
import sys
from pathlib import Path

from observability.dashboards import (
    auth,
    connections,
    delivery,
    grafana,
    nats,
    overview,
    processes,
    recovery,
    rooms,
    runbooks,
)

DASHBOARDS = (overview, connections, delivery, rooms, recovery, auth, nats, processes)
DIRECTORY = Path(__file__).parents[1] / "grafana" / "dashboards"


def rendered() -> dict[str, str]:
    """Return file name to text of every dashboard."""
    addresses = runbooks.addresses()
    made = [*(grafana.dashboard(module.DASHBOARD, addresses) for module in DASHBOARDS), runbooks.dashboard()]
    return {f"{one['uid']}.json": json.dumps(one, indent=1, ensure_ascii=False) + "\n" for one in made}


def stale() -> list[str]:
    """Return the names of files that are not what the source makes: changed by hand, missing, or left over."""
    wanted = rendered()
    there = {file.name: file.read_text() for file in DIRECTORY.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m observability.dashboards",
        description="Write observability/grafana/dashboards/*.json from the source beside this file.",
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is out of date")
    check = parser.parse_args().check
    wrong = stale()
    if wrong and not check:
        wanted = rendered()
        for name in wrong:
            if name in wanted:
                (DIRECTORY / name).write_text(wanted[name])
            else:
                (DIRECTORY / name).unlink()
    if wrong:
        print(("out of date (run make dashboards): " if check else "rewrote: ") + ", ".join(wrong))
    return 1 if wrong and check else 0


if __name__ == "__main__":
    sys.exit(main())
