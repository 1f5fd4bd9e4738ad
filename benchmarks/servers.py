"""The peers of the comparison, each on the same core, started once and left idle while another one is measured."""

import dataclasses
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt

from benchmarks.generator import GENERATOR_CORE, HERE, SERVER_CORE, Failed, Groups, Template, build
from tests.bench.ports import free_port

PEERS = HERE / "peers"
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
START_SECONDS = 20
END_SECONDS = 5
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Server:
    """A running server: how clients talk to it, its processes, and those of brokers it needs."""

    name: str
    template: Template
    pids: Sequence[int]
    brokers: Sequence[int] = ()
    idle: Template | None = None
    """How idle clients talk to it, if otherwise."""

    @property
    def groups(self) -> Groups:
        """Its processes, by whose work counts as what."""
        return {"server": self.pids, "broker": self.brokers}


def pin(pids: Sequence[int], core: int) -> None:
    """Have all threads of these processes run on `core`."""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {core})


@contextmanager
def process(
    name: str, command: list[str], template: Template, core: int = SERVER_CORE, **environment: str
) -> Iterator[Server]:
    """Run one program of one process until it listens, on one core."""
    log = tempfile.TemporaryFile()  # noqa: SIM115  # closed below, after the program
    running = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=PEERS,
        env=os.environ | environment,
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
        try:
            running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()  # one that waits for its clients
            running.wait()
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
    return process("Node ws", [_node(), "node/ws.mjs", str(port)], Template(port))


def socket_io() -> AbstractContextManager[Server]:
    """Node and Socket.IO."""
    port = free_port()
    return process("Socket.IO", [_node(), "node/socketio.mjs", str(port)], _socket_io_client(port))


def python_socketio() -> AbstractContextManager[Server]:
    """python-socketio under uvicorn."""
    port = free_port()
    return process("python-socketio", _uvicorn("python_socketio:app", port, "socketio"), _socket_io_client(port))


def _socket_io_client(port: int) -> Template:
    path = "/socket.io/?EIO=4&transport=websocket&room=%r"
    return Template(port, path, ("< 0{", "> 40", "< 40{"), '42["m","', '"]')


def send() -> AbstractContextManager[Server]:
    """One send(2) per delivery, in C."""
    port = free_port()
    return process("C send(2)", [str(build(PEERS / "send.c")), str(port)], Template(port))


def least() -> AbstractContextManager[Server]:
    """The least Python."""
    port = free_port()
    return process("least Python", [sys.executable, "least.py", str(port)], Template(port))


@contextmanager
def least_with_nats() -> Iterator[Server]:
    """The least Python that passes everything through NATS."""
    port = free_port()
    with (
        _nats() as broker,
        process(
            "least Python, NATS",
            [sys.executable, "least.py", str(port), str(broker.template.port)],
            Template(port),
        ) as server,
    ):
        yield dataclasses.replace(server, brokers=broker.pids)


def _nats() -> AbstractContextManager[Server]:
    """NATS as a broker of one of the others."""
    port, program = free_port(), Path(sys.executable).parent / "nats-server"
    return process("NATS", [str(program), "-a", "127.0.0.1", "-p", str(port)], Template(port), GENERATOR_CORE)


@contextmanager
def centrifugo() -> Iterator[Server]:
    """Centrifugo, which speaks our clients' protocol; everything goes through NATS, tokens are HMAC."""
    program = shutil.which("centrifugo")
    if program is None:
        raise Failed("Centrifugo is missing: put the program on PATH")
    port = free_port()
    config = json.loads((PEERS / "centrifugo.json").read_text())
    until, secret = int(time.time()) + TOKEN_SECONDS, config["client"]["token"]["hmac_secret_key"]
    tokens = [jwt.encode({"sub": f"user{i:05d}", "exp": until}, secret, "HS256") for i in range(10_000)]
    greeting = (
        '> {"id":1,"connect":{"token":"%t"}}',
        '< "id":1,',
        '> {"id":2,"subscribe":{"channel":"plain:%r"}}',
        '< "id":2,"subscribe"',
    )
    around = '{"id":3,"publish":{"channel":"plain:%r","data":"', '"}}'
    talk = Template(port, "/connection/websocket", greeting, *around, tokens)
    with tempfile.TemporaryDirectory() as directory, _nats() as bus:
        config["broker"] = {"enabled": True, "type": "nats", "nats": {"url": f"nats://127.0.0.1:{bus.template.port}"}}
        config["http_server"] = {"address": "127.0.0.1", "port": port}
        written = Path(directory) / "config.json"
        written.write_text(json.dumps(config))
        with process("Centrifugo", [program, "-c", str(written)], talk) as running:
            yield dataclasses.replace(running, brokers=bus.pids)


def tutorial() -> AbstractContextManager[Server]:
    """FastAPI's tutorial under uvicorn."""
    port = free_port()
    return process("FastAPI tutorial", _uvicorn("tutorial:app", port), Template(port, "/ws?room=%r"))


@contextmanager
def django_channels() -> Iterator[Server]:
    """Django Channels under uvicorn, its channel layer in Redis (Debian: redis-server)."""
    program = shutil.which("redis-server", path="/usr/bin:/usr/sbin:/usr/local/bin")
    if program is None:
        raise Failed("Redis is missing: apt-get install redis-server")
    port, redis = free_port(), free_port()
    command = [program, "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (
        process("Redis", command, Template(redis), GENERATOR_CORE) as broker,
        process(
            "Django Channels",
            _uvicorn("django_channels:app", port, "channels_redis"),
            Template(port),
            REDIS_URL=f"redis://127.0.0.1:{redis}",
        ) as server,
    ):
        yield dataclasses.replace(server, brokers=broker.pids)


def _uvicorn(app: str, port: int, needs: str = "uvicorn") -> list[str]:
    if importlib.util.find_spec(needs) is None:
        raise Failed(f"{needs} is not installed: run make bench")
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]
    return [*command, "--ws-per-message-deflate", "false"]


@contextmanager
def nats_ws() -> Iterator[Server]:
    """nats-server's own WebSocket."""
    port = free_port()
    websocket = f"websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}"
    program = Path(sys.executable).parent / "nats-server"
    greeting = '> CONNECT {"verbose":false}\\r\\nSUB r%r 1\\r\\nPING\\r\\n', "< PONG"
    talk = Template(port, "/", greeting, "PUB r%r %n\\r\\n", "\\r\\n")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "nats-ws.conf"
        config.write_text(f"host: 127.0.0.1\nport: {free_port()}\n{websocket}\n")
        with process("nats-server ws", [str(program), "-c", str(config)], talk) as server:
            yield server


@contextmanager
def nchan() -> Iterator[Server]:
    """nginx with nchan (Debian: nginx-light, libnginx-mod-nchan)."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None or not NCHAN.exists():
        raise Failed("nchan is missing: apt-get install nginx-light libnginx-mod-nchan")
    port = free_port()
    template = Template(port, "/room?room=%r")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "nginx.conf"
        text = (PEERS / "nchan.conf").read_text()
        for name, value in (("@PORT@", str(port)), ("@DIRECTORY@", directory), ("@MODULE@", str(NCHAN))):
            text = text.replace(name, value)
        config.write_text(text)
        with process("nchan", [program, "-c", str(config), "-p", directory], template) as server:
            # The master does nothing; it has forked the worker after it began to listen.
            yield Server("nchan", template, _family(server.pids[0]))


def _node() -> str:
    if not (PEERS / "node" / "node_modules").is_dir():
        raise Failed("the Node peers are not installed: run make bench-quick or make bench")
    program = shutil.which("node") or str(Path(sys.executable).parent / "node")
    if not Path(program).exists():
        raise Failed("no Node: run make bench-quick or make bench")
    return program


PEERS_BY_NAME: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "Node ws": node_ws,
    "Socket.IO": socket_io,
    "python-socketio": python_socketio,
    "FastAPI tutorial": tutorial,
    "Django Channels": django_channels,
    "nchan": nchan,
    "nats-server ws": nats_ws,
    "C send(2)": send,
    "Centrifugo": centrifugo,
    "least Python": least,
    "least Python, NATS": least_with_nats,
}
