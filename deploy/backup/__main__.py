"""`python -m deploy.backup`: save the streams into a directory, check it, restore from it.

    python -m deploy.backup save DIR         copy every stream that cannot be made again, while all goes on
    python -m deploy.backup check DIR        is it a whole backup?
    python -m deploy.backup restore DIR      make the streams from it, with a new epoch, while the services are stopped

Needs NATS_URL and NATS_PASSWORD, the password of NATS user operator.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chassis import logs
from chassis.settings import Settings
from deploy.backup import files
from deploy.jetstream import Failed, JetStream, connected
from protocol import subjects
from protocol.names import new_id

STREAMS = (subjects.USERS_STREAM, subjects.CHANNELS_STREAM, subjects.ROOMS_STREAM)
"""What is saved, in this order. REVOCATIONS is older than any access token after a restore; PRESENCE is in memory."""


async def save(settings: Settings, directory: Path) -> None:
    """Copy every stream that exists into the new `directory`; raise `Failed`."""
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    saved: dict[str, Any] = {}
    async with connected(settings) as jetstream:
        for stream in STREAMS:
            if await jetstream.info(stream) is None:
                print(f"backup: there is no stream {stream}: nothing to save")
                continue
            found, chunks = await jetstream.snapshot(stream)
            saved[stream] = found | await files.write(directory, stream, chunks)
            print(f"backup: {_line(stream, saved[stream])}, {saved[stream]['bytes']} bytes")
    if subjects.ROOMS_STREAM not in saved:
        raise Failed("there is no room log, so this is no backup")
    files.finish(directory, taken_at, saved)
    print(f"backup: saved in {directory}")


async def restore(settings: Settings, directory: Path, replicas: int, *, replace: bool, moved: bool) -> None:
    """Make every stream of the backup in `directory`; raise `Failed` or `Unusable`.

    Each gets a new epoch, unless it was only `moved`: nothing was written since the backup was made.
    """
    manifest = files.manifest_of(directory)
    async with connected(settings) as jetstream:
        await _make_room(jetstream, list(manifest["streams"]), replace=replace)
        for stream, saved in manifest["streams"].items():
            config = _config(saved["config"], replicas, moved=moved)
            info = await jetstream.restore(config, saved["state"], files.read(directory / saved["file"]))
            restored = info["state"]
            if restored["last_seq"] < saved["state"]["last_seq"]:
                raise Failed(f"{stream} ends at {restored['last_seq']}, the backup at {saved['state']['last_seq']}")
            print(f"backup: restored {_line(stream, info)}, epoch {config['metadata']['epoch']}")
    if not moved:
        print(
            "backup: before the services start, empty the chat database or run python -m chat_service rebuild-archive"
        )


async def _make_room(jetstream: JetStream, streams: list[str], *, replace: bool) -> None:
    existing = [stream for stream in streams if await jetstream.info(stream) is not None]
    if existing and not replace:
        raise Failed(f"there already: {', '.join(existing)}. Stop the services; --replace deletes them first")
    for stream in existing:
        await jetstream.delete(stream)
        print(f"backup: deleted {stream}")


def _config(saved: dict[str, Any], replicas: int, *, moved: bool) -> dict[str, Any]:
    metadata = {name: value for name, value in saved.get("metadata", {}).items() if not name.startswith("_nats.")}
    if not moved:
        # Offsets after the backup will be given anew: whoever has one of the old ones must be told to reload.
        metadata["epoch"] = new_id()
    return {**saved, "num_replicas": replicas, "metadata": metadata}


def _line(stream: str, info: dict[str, Any]) -> str:
    state = info["state"]
    return f"{stream}: {state['messages']} records, up to {state['last_seq']}"


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise Failed(f"{directory}: {error.strerror}") from None


def _check(directory: Path) -> None:
    manifest = files.manifest_of(directory)
    for stream, saved in manifest["streams"].items():
        print(f"backup: {_line(stream, saved)}")
    print(f"backup: whole, taken at {manifest['taken_at']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.backup", description="Backup and restore of the streams.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="command")
    for name, text in (
        ("save", "copy every stream that cannot be made again into a new directory; all goes on meanwhile"),
        ("check", "tell whether a directory is a whole backup"),
        ("restore", "make the streams from a backup, with a new epoch; the services have to be stopped"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("directory", type=Path)
        if name == "restore":
            action.add_argument("--replace", action="store_true", help="delete the streams that are there first")
            action.add_argument(
                "--moved",
                action="store_true",
                help="keep the epoch, so that clients recover: only when nothing was written since the backup was made",
            )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit code."""
    asked = _parser().parse_args(arguments)
    settings = Settings.load_or_exit()
    logs.configure("operator", "warning", settings.log_format)
    try:
        if asked.action == "save":
            _make(asked.directory)
            asyncio.run(save(settings, asked.directory))
        elif asked.action == "restore":
            run = restore(settings, asked.directory, settings.nats_replicas, replace=asked.replace, moved=asked.moved)
            asyncio.run(run)
        else:
            _check(asked.directory)
    except (Failed, files.Unusable) as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
