"""`python -m deploy.probe PORT [PATH]`: ask a service of this container for its health; exit code 0 when it is well.

Standard library only, and not much of it: it starts every few seconds beside the service. What is wrong goes to standard
output, where `docker inspect` shows it.
"""

import http.client
import os
import sys

PATH = "/health/live"
SECONDS = 2.5
"""Deadline of the question; the health checks that run this allow 3 s."""
SHOWN = 500


def address(bind_host: str) -> str:
    """Return where a service that listens on `bind_host` is reached from inside its container."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind_host, bind_host)


def ask(host: str, port: int, path: str) -> tuple[bool, str]:
    """Return whether the service answered 200, and what it said."""
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200, f"{answer.status} {answer.read(SHOWN).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return False, f"{host}:{port} does not answer: {error}"
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if len(arguments) not in (1, 2) or not arguments[0].isdigit():
        print("usage: python -m deploy.probe PORT [PATH]")
        return 2
    # BIND_HOST is read here and not by way of the settings, whose libraries take ten times as long to load.
    host = address(os.environ.get("BIND_HOST", ""))
    well, text = ask(host, int(arguments[0]), *arguments[1:] or [PATH])
    print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
