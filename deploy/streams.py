"""`python -m deploy.streams`: look at the streams, and do with them what no service may.

    python -m deploy.streams show
    python -m deploy.streams replicas 3              after one node became three (NATS_REPLICAS makes new streams only)
    python -m deploy.streams batches                 have ROOMS take many records with one sync, as new ones do
    python -m deploy.streams step-down ROOMS         have another server lead it
    python -m deploy.streams new-epoch               after files of NATS were put back from a copy: clients must reload

Needs NATS_URL and NATS_PASSWORD, the password of NATS user operator.
"""

import argparse
import asyncio
import sys
from typing import Any

from chassis import logs
from chassis.settings import Settings
from deploy.jetstream import Failed, JetStream, connected
from protocol import subjects
from protocol.names import new_id

STREAMS = (
    subjects.ROOMS_STREAM,
    subjects.USERS_STREAM,
    subjects.CHANNELS_STREAM,
    subjects.REVOCATIONS_STREAM,
    subjects.PRESENCE_STREAM,
)

CATCH_UP_SECONDS = 300.0
"""How long new replicas may take to copy a stream."""


async def show(jetstream: JetStream) -> None:
    """Print each stream with its replicas."""
    for stream in STREAMS:
        info = await jetstream.info(stream)
        if info is None:
            print(f"{stream:12} none")
            continue
        config, state, cluster = info["config"], info["state"], info.get("cluster", {})
        replicas = " ".join(_replica(one) for one in cluster.get("replicas", []))
        print(
            f"{stream:12} R{config['num_replicas']} {state['messages']} records, {state['bytes']} bytes, "
            f"sequence {state['last_seq']}, epoch {config.get('metadata', {}).get('epoch', '-')}, "
            f"leader {cluster.get('leader', '-')} {replicas}".rstrip()
        )


def _replica(replica: dict[str, Any]) -> str:
    state = "current" if replica.get("current") else f"behind by {replica.get('lag', 0)}"
    return f"{replica['name']} ({'offline' if replica.get('offline') else state})"


async def whole(jetstream: JetStream, stream: str, replicas: int) -> None:
    """Return when a stream has a leader and that many replicas in all, each with everything; raise `Failed`."""
    last = ""
    end = asyncio.get_running_loop().time() + CATCH_UP_SECONDS
    while asyncio.get_running_loop().time() < end:
        try:
            cluster = ((await jetstream.info(stream)) or {}).get("cluster", {})
        except Failed as error:  # no leader for the moment
            last = str(error)
        else:
            others = cluster.get("replicas", [])
            settled = cluster.get("leader") and not cluster.get("desired") and len(others) == replicas - 1
            if settled and all(one.get("current") for one in others):
                return
            last = " ".join(_replica(one) for one in others) or "no replica yet"
        await asyncio.sleep(0.5)
    raise Failed(f"{stream} is not whole after {CATCH_UP_SECONDS:g} s: {last}")


async def _each(jetstream: JetStream, streams: tuple[str, ...], changed: dict[str, Any] | None) -> None:
    for stream in streams:
        info = await jetstream.info(stream)
        if info is None:
            continue
        change = {"metadata": {**info["config"].get("metadata", {}), "epoch": new_id()}} if changed is None else changed
        config = (await jetstream.update(stream, change))["config"]
        await whole(jetstream, stream, config["num_replicas"])
        print(f"streams: {stream}: R{config['num_replicas']}, epoch {config['metadata'].get('epoch', '-')}")


async def run(settings: Settings, asked: argparse.Namespace) -> None:
    """Do what was asked; raise `Failed`."""
    async with connected(settings) as jetstream:
        if asked.action == "replicas":
            await _each(jetstream, STREAMS, {"num_replicas": asked.count})
        elif asked.action == "new-epoch":
            await _each(jetstream, STREAMS[:3], None)
        elif asked.action == "batches":
            await _each(jetstream, (subjects.ROOMS_STREAM,), {"allow_atomic": True})
        elif asked.action == "step-down":
            info = await jetstream.info(asked.stream)
            if info is None or info["config"]["num_replicas"] == 1:
                raise Failed(f"{asked.stream} has no other replica that could lead it")
            await whole(jetstream, asked.stream, info["config"]["num_replicas"])  # else nobody might lead it
            await jetstream.step_down(asked.stream)
        else:
            await show(jetstream)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.streams", description="Look at the streams, reshape them.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="command")
    actions.add_parser("show", help="list the streams with their replicas")
    replicas = actions.add_parser("replicas", help="change how many replicas every stream has")
    replicas.add_argument("count", type=int, choices=(3, 5))
    actions.add_parser("batches", help="have ROOMS, made by an earlier version, take many records with one sync")
    step_down = actions.add_parser("step-down", help="have another server lead a stream")
    step_down.add_argument("stream", choices=STREAMS)
    actions.add_parser("new-epoch", help="have every client reload, after files of NATS were put back from a copy")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit code."""
    asked = _parser().parse_args(arguments)
    settings = Settings.load_or_exit()
    logs.configure("operator", "warning", settings.log_format)
    try:
        asyncio.run(run(settings, asked))
    except Failed as error:
        print(f"streams: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
