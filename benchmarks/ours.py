"""Parley as a server of the comparison: the ring as it ships, with everything on, and one gateway worker."""

import asyncio
import dataclasses
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.generator import GENERATOR_CORE, SERVER_CORE, Failed, Groups, Template, Work
from benchmarks.servers import Server, pin
from benchmarks.session import Measured, fan_out
from tests.bench.clients import Frames
from tests.bench.issuer import Issuer
from tests.bench.metrics import metrics_page, total
from tests.bench.ports import free_port, wait_until
from tests.bench.ring import ROOT, Ring

TOKENS = 10_000
TOKEN_SECONDS = 880
CHANNELS = """
[namespace.plain]
subscribe = "anyone"
publish = "subscriber"

[namespace.kept]
history_size = 300
recovery = "forced"
subscribe = "anyone"
publish = "subscriber"
"""
CONNECT = '> {"id":1,"connect":{"token":"%t"}}', '< "id":1,'
SUBSCRIBED = '< "id":2,"subscribe"'
REPLY = '{"id":'
EACH_IN_ORDER = '"recoverable":true,"positioned":true'


@dataclass(frozen=True)
class Parley(Server):
    """A running ring."""

    chat: Sequence[int] = ()
    ring: Ring | None = None

    @property
    def parts(self) -> Groups:
        """Its processes, by what they do."""
        return {"server": self.pids, "chat": self.chat, "broker": self.brokers}

    @property
    def returning(self) -> Template:
        """As `idle`, of clients that recover after a cut what they missed."""
        assert self.idle is not None
        subscribe = f'> {{"id":2,"subscribe":{{"channel":"kept:%r","recover":true,"offset":%o,{EACH_IN_ORDER}}}}}'
        return dataclasses.replace(self.idle, again=(*CONNECT, subscribe, '< "recovered":true'))

    def written(self) -> tuple[float, float]:
        """Return how many deliveries, and how many frames with them, this gateway has written so far."""
        assert self.ring is not None
        page = asyncio.run(metrics_page(self.ring))
        return total(page, "parley_messages_out_total"), total(page, "parley_frames_out_total")

    def durable(self, rooms: int) -> Template:
        """Make rooms; return how members send messages to them: each is answered when it is on disk."""
        assert self.ring is not None
        names = asyncio.run(_make_rooms(self.ring, self.template.tokens[-1], rooms))
        join = '> {"id":2,"rpc":{"method":"room.join","data":{"room":"%r"}}}', '< "id":2,"rpc"'
        subscribe = '> {"id":3,"subscribe":{"channel":"room:%r"}}', '< "id":3,"subscribe"'
        return dataclasses.replace(
            self.template,
            greeting=(*CONNECT, *join, *subscribe),
            prefix='{"id":%q,"rpc":{"method":"message.send","data":{"room":"%r","id":"%u","text":"',
            suffix='"}}}',
            names=names,
            reply=REPLY,
        )

    @contextmanager
    def another_chat(self) -> Iterator[None]:
        """Have one more process of the chat service within the block. Raises `Failed` when it does not start."""
        entries = Path(f"/proc/{self.chat[0]}/environ").read_text().split("\0")
        port = free_port()
        environment = dict(one.split("=", 1) for one in entries if "=" in one) | {"CHAT_PORT": str(port)}
        command = [sys.executable, "-m", "chat_service"]
        quiet = subprocess.DEVNULL
        running = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            wait_until(lambda: running.poll() is not None or _ready(port), "another chat service is ready", 20, 0.1)
            if running.poll() is not None:
                raise Failed("another chat service does not start")
            yield
        finally:
            running.terminate()
            running.wait(15)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
            return True
    except OSError:
        return False


async def _make_rooms(ring: Ring, token: str, count: int) -> list[str]:
    async with await Frames.open(ring) as creator:
        await creator.enter(token)
        return [await creator.make_room(f"Room {i}") for i in range(count)]


@contextmanager
def parley(settings: Mapping[str, str] = MappingProxyType({}), *, pinned: bool = True) -> Iterator[Parley]:
    """Run the ring; tokens are EdDSA, of an issuer whose keys it trusts. Raises `Failed` when it does not start.

    `pinned`: the gateway on the servers' core and NATS on the generator's, as a broker of any other server.
    """
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as directory, Issuer() as issuer:
        channels = Path(directory) / "channels.toml"
        channels.write_text(CHANNELS)
        given = {
            "GATEWAY_WORKERS": "1",
            "JWKS_URL": issuer.url,
            "CHANNELS_FILE": str(channels),
            "PING_SECONDS": "86400",  # the generator answers none, and nor do its clients of other servers
            "LOG_LEVEL": "warning",
            **settings,
        }
        ring = Ring(Path(directory) / "data", given)
        issuer.also = f"http://127.0.0.1:{ring.ports['auth']}/.well-known/jwks.json"
        try:
            ring.start()
            yield _running(ring, issuer, pinned)
        except AssertionError as error:
            raise Failed(f"Parley: {error}") from error
        finally:
            ring.end()


def _running(ring: Ring, issuer: Issuer, pinned: bool) -> Parley:
    worker, nats = ring.worker_pids(), ring.pid_of("nats")
    if pinned:
        pin(worker, SERVER_CORE)
        pin([nats], GENERATOR_CORE)
    tokens = [issuer.token(f"user{i:05d}" + "a" * 11, TOKEN_SECONDS) for i in range(TOKENS)]
    return Parley(
        "Parley",
        _talk(ring, "plain", tokens),
        worker,
        [nats],
        _talk(ring, "kept", tokens),
        chat=[ring.pid_of("chat")],
        ring=ring,
    )


def _talk(ring: Ring, namespace: str, tokens: Sequence[str]) -> Template:
    subscribe = f'> {{"id":2,"subscribe":{{"channel":"{namespace}:%r",{EACH_IN_ORDER}}}}}'
    return Template(
        ring.ports["gateway"],
        "/connection/websocket",
        (*CONNECT, subscribe, SUBSCRIBED),
        f'{{"id":3,"publish":{{"channel":"{namespace}:%r","data":"',
        '"}}',
        tokens,
    )


def single(work: Work) -> Callable[[Server], Measured]:
    """Return how to put `work` on a server, and tell how many deliveries each of our frames had (theirs have one)."""

    def measure(server: Server) -> Measured:
        before = server.written() if isinstance(server, Parley) else (0.0, 0.0)
        found = fan_out(work)(server)
        after = server.written() if isinstance(server, Parley) else (1.0, 1.0)
        return found | {"per_frame": (after[0] - before[0]) / max(1, after[1] - before[1])}

    return measure
