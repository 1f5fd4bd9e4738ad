"""A backup on disk: a directory with one file of chunks per stream, and a manifest written last.

A directory without a manifest is not a backup. The manifest has of each stream its configuration, its state, and length
and SHA-256 of its file.
"""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1
_READ_BYTES = 64 * 1024


class Unusable(Exception):
    """The directory is not a whole backup; the text is for the operator."""


async def write(directory: Path, stream: str, chunks: AsyncIterator[bytes]) -> dict[str, Any]:
    """Write a stream's file, synced to disk; return its name, length and SHA-256."""
    file = directory / f"{stream}.snapshot"
    digest, length = hashlib.sha256(), 0
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        async for chunk in chunks:
            output.write(chunk)
            digest.update(chunk)
            length += len(chunk)
        output.flush()
        os.fsync(output.fileno())
    return {"file": file.name, "bytes": length, "sha256": digest.hexdigest()}


def finish(directory: Path, taken_at: str, streams: dict[str, Any]) -> None:
    """Write the manifest, which makes the directory a backup."""
    manifest = {"format": FORMAT, "taken_at": taken_at, "streams": streams}
    draft = directory / f".{MANIFEST}.new"
    with draft.open("w") as output:
        json.dump(manifest, output, indent=2)
        output.flush()
        os.fsync(output.fileno())
    draft.replace(directory / MANIFEST)


def manifest_of(directory: Path) -> dict[str, Any]:
    """Return the manifest; raise `Unusable`, also when a file is not what it was when it was written."""
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise Unusable(f"{directory} has no {MANIFEST}: an unfinished backup, or none ({error})") from error
    if manifest.get("format") != FORMAT:
        raise Unusable(f"{directory} has format {manifest.get('format')}; this is for format {FORMAT}")
    for stream, saved in manifest["streams"].items():
        digest = hashlib.sha256()
        try:
            for chunk in read(directory / saved["file"]):
                digest.update(chunk)
        except OSError as error:
            raise Unusable(f"{stream}: {error}") from error
        if digest.hexdigest() != saved["sha256"]:
            raise Unusable(f"{stream}: {saved['file']} is damaged")
    return manifest


def read(file: Path) -> Iterator[bytes]:
    """Yield a file in chunks that fit into a NATS message."""
    with file.open("rb") as source:
        while chunk := source.read(_READ_BYTES):
            yield chunk
