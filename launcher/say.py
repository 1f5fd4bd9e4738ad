"""What the launcher tells the person who started it: one line each, flushed at once."""

import sys


def say(text: str) -> None:
    """Print a line about progress or trouble to stderr."""
    _print(f"parley: {text}", to_stdout=False)


def announce(text: str) -> None:
    """Print a result to stdout: the ready line, nothing else."""
    _print(text, to_stdout=True)


def _print(text: str, to_stdout: bool) -> None:
    try:
        print(text, file=sys.stdout if to_stdout else sys.stderr, flush=True)
    except OSError:
        pass  # the terminal is gone; stopping in good order matters more than saying so
