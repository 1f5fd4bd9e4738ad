"""`python -m deploy.streams`: look at the streams, and do with them what no service may.

    python -m deploy.streams show
    python -m deploy.streams replicas 3              after one node became three (NATS_REPLICAS makes new streams only)
    python -m deploy.streams step-down ROOMS         have another server lead it
    python -m deploy.streams remove-peer nats-2      take a server out of every stream's replicas
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


async def _each(jetstream: JetStream, streams: tuple[str, ...], changed: dict[str, Any] | None) -> None:
    for stream in streams:
        info = await jetstream.info(stream)
        if info is None:
            continue
        change = {"metadata": {**info["config"].get("metadata", {}), "epoch": new_id()}} if changed is None else changed
        config = (await jetstream.update(stream, change))["config"]
        print(f"streams: {stream}: R{config['num_replicas']}, epoch {config['metadata'].get('epoch', '-')}")


async def remove_peer(jetstream: JetStream, server: str) -> None:
    """Take `server` out of the replicas of every stream that has it there."""
    for stream in STREAMS:
        info = await jetstream.info(stream)
        cluster = info.get("cluster", {}) if info else {}
        names = [cluster.get("leader"), *(replica["name"] for replica in cluster.get("replicas", []))]
        if server in names:
            await jetstream.remove_peer(stream, server)
            print(f"streams: {server} taken out of {stream}")


async def run(settings: Settings, asked: argparse.Namespace) -> None:
    """Do what was asked; raise `Failed`."""
    async with connected(settings) as jetstream:
        if asked.action == "replicas":
            await _each(jetstream, STREAMS, {"num_replicas": asked.count})
        elif asked.action == "new-epoch":
            await _each(jetstream, STREAMS[:3], None)
        elif asked.action == "step-down":
            await jetstream.step_down(asked.stream)
        elif asked.action == "remove-peer":
            await remove_peer(jetstream, asked.server)
        else:
            await show(jetstream)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.streams", description="Look at the streams, reshape them.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="command")
    actions.add_parser("show", help="list the streams with their replicas")
    replicas = actions.add_parser("replicas", help="change how many replicas every stream has")
    replicas.add_argument("count", type=int, choices=(1, 3, 5))
    step_down = actions.add_parser("step-down", help="have another server lead a stream")
    step_down.add_argument("stream", choices=STREAMS)
    remove = actions.add_parser("remove-peer", help="take a server out of the replicas of every stream")
    remove.add_argument("server")
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
