"""`python -m deploy.probe URL`: ask a service of this container for its health; exit code 0 when it answers 200.

Standard library only, and not much of it: it starts every few seconds beside the service. What is wrong goes to
standard output, where `docker inspect` shows it.
"""

import http.client
import sys
from urllib.parse import urlsplit

SECONDS = 4.0
"""Deadline of the question; the health checks that run this allow 5 s."""
SHOWN = 500


def ask(url: str) -> tuple[bool, str]:
    """Return whether what answers at `url` (http://host:port/path) is well, and what it said."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        return answer.status == 200, f"{answer.status} {answer.read(SHOWN).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return False, f"{parts.netloc} does not answer: {error}"
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if len(arguments) != 1 or not arguments[0].startswith("http://"):
        print("usage: python -m deploy.probe http://127.0.0.1:PORT/health/live")
        return 2
    well, text = ask(arguments[0])
    print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
