"""The servers of the comparison, each on the same core, started once and left idle while another one is measured."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generator import GENERATOR_CORE, HERE, SERVER_CORE, Failed, Template, build
from tests.bench.issuer import Issuer
from tests.bench.ports import free_port
from tests.bench.ring import Ring

PEERS = HERE / "peers"
START_SECONDS = 20
TOKENS = 10_000
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


@dataclass(frozen=True)
class Server:
    """A running server: how clients talk to it, its processes, and those of brokers it needs."""

    name: str
    template: Template
    pids: Sequence[int]
    brokers: Sequence[int] = ()
    idle: Template | None = None
    """How idle clients talk to it, if otherwise."""
    extra: dict[str, Template] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, Sequence[int]]:
        """Its processes, by whose work counts as what."""
        return {"server": self.pids, "broker": self.brokers}


def pin(pids: Sequence[int], core: int) -> None:
    """Have all threads of these processes run on `core`."""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {core})


@contextmanager
def parley(directory: Path, **settings: str) -> Iterator[Server]:
    """Run the ring as it ships, with one gateway worker; tokens are EdDSA, of an issuer whose keys it trusts."""
    directory.mkdir(parents=True, exist_ok=True)
    channels = directory / "channels.toml"
    channels.write_text(CHANNELS)
    with Issuer() as issuer:
        given = {
            "GATEWAY_WORKERS": "1",
            "JWKS_URL": issuer.url,
            "CHANNELS_FILE": str(channels),
            "PING_SECONDS": "600",  # the generator answers none
            "LOG_LEVEL": "warning",
            **settings,
        }
        ring = Ring(directory / "data", given)
        issuer.also = f"http://127.0.0.1:{ring.ports['auth']}/.well-known/jwks.json"
        ring.start()
        try:
            worker, nats = ring.worker_pids(), ring.pid_of("nats")
            pin(worker, SERVER_CORE)
            pin([nats], GENERATOR_CORE)
            tokens = [issuer.token(f"user{i:05d}" + "a" * 11, 880) for i in range(TOKENS)]
            yield Server("parley", _talk(ring, "plain", tokens), worker, [nats], _talk(ring, "kept", tokens))
        finally:
            ring.end()


def _talk(ring: Ring, namespace: str, tokens: Sequence[str]) -> Template:
    subscribe = f'> {{"id":2,"subscribe":{{"channel":"{namespace}:%r","recoverable":true,"positioned":true}}}}'
    return Template(
        ring.ports["gateway"],
        "/connection/websocket",
        (*CONNECT, subscribe, '< "id":2,"subscribe"'),
        f'{{"id":3,"publish":{{"channel":"{namespace}:%r","data":"',
        '"}}',
        tokens,
    )


@contextmanager
def process(name: str, command: list[str], template: Template) -> Iterator[Server]:
    """Run one program of one process until it listens, on the servers' core."""
    log = tempfile.TemporaryFile()  # noqa: SIM115  # closed below, after the program
    running = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=PEERS
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(template.port):
            if running.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise Failed(f"{name} does not start: {log.read().decode()[-500:]}")
            time.sleep(0.05)  # nothing is measured yet
        yield Server(name, template, _family(running.pid))
    finally:
        running.terminate()
        running.wait(10)
        log.close()


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def node_ws() -> AbstractContextManager[Server]:
    """Node and `ws`."""
    port = free_port()
    return process("node ws", [_node(), "node/ws.mjs", str(port)], Template(port))


def socket_io() -> AbstractContextManager[Server]:
    """Node and Socket.IO."""
    port = free_port()
    talk = Template(port, "/socket.io/?EIO=4&transport=websocket&room=%r", ("< 0{", "> 40", "< 40{"), '42["m","', '"]')
    return process("Socket.IO", [_node(), "node/socketio.mjs", str(port)], talk)


def send() -> AbstractContextManager[Server]:
    """One send(2) per delivery, in C."""
    port = free_port()
    return process("C send(2)", [str(build(PEERS / "send.c")), str(port)], Template(port))


def tutorial() -> AbstractContextManager[Server]:
    """FastAPI's tutorial."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tutorial:app", "--port", str(port), "--log-level", "warning"]
    return process("FastAPI tutorial", [*command, "--ws-per-message-deflate", "false"], Template(port, "/ws?room=%r"))


def nats_ws(directory: Path) -> AbstractContextManager[Server]:
    """nats-server's own WebSocket."""
    port = free_port()
    config = directory / "nats-ws.conf"
    directory.mkdir(parents=True, exist_ok=True)
    websocket = f"websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}"
    config.write_text(f"host: 127.0.0.1\nport: {free_port()}\n{websocket}\n")
    program = Path(sys.executable).parent / "nats-server"
    greeting = '> CONNECT {"verbose":false}\\r\\nSUB r%r 1\\r\\nPING\\r\\n', "< PONG"
    talk = Template(port, "/", greeting, "PUB r%r %n\\r\\n", "\\r\\n")
    return process("nats-server ws", [str(program), "-c", str(config)], talk)


@contextmanager
def nchan(directory: Path) -> Iterator[Server]:
    """nginx with nchan (Debian: nginx-light, libnginx-mod-nchan)."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None or not Path("/usr/lib/nginx/modules/ngx_nchan_module.so").exists():
        raise Failed("nchan is missing: apt-get install nginx-light libnginx-mod-nchan")
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    text = (PEERS / "nchan.conf").read_text().replace("@PORT@", str(port)).replace("@DIRECTORY@", str(directory))
    (directory / "nginx.conf").write_text(text.replace("load_module modules/", "load_module /usr/lib/nginx/modules/"))
    template = Template(port, "/room?room=%r")
    with process("nchan", [program, "-c", str(directory / "nginx.conf"), "-p", str(directory)], template) as server:
        # The master does nothing; it has forked the worker after it began to listen.
        yield Server("nchan", template, _family(server.pids[0]))


def _node() -> str:
    if not (PEERS / "node" / "node_modules").is_dir():
        raise Failed("the Node peers are not installed: run make bench-quick")
    program = shutil.which("node") or str(Path(sys.executable).parent / "node")
    if not Path(program).exists():
        raise Failed("no Node: run make bench-quick")
    return program


@contextmanager
def together(*starting: AbstractContextManager[Server]) -> Iterator[dict[str, Server]]:
    """Run several servers; give them by name."""
    with ExitStack() as stack:
        running = [stack.enter_context(one) for one in starting]
        yield {server.name: server for server in running}
