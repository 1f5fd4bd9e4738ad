"""The NATS exporter, against real servers: alone, and three of which two are lost."""

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import nats
import pytest
from nats.js.errors import Error as JetStreamError

from observability.nats_exporter import NAMES
from tests.bench.metrics import samples, total
from tests.bench.nats import NatsServer
from tests.bench.ports import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 1.0

Start = Callable[[list[NatsServer]], str]


@pytest.fixture
def exporter() -> Iterator[Start]:
    """Start the exporter over these servers; gives its address when it serves."""
    started: list[subprocess.Popen[bytes]] = []

    def start(servers: list[NatsServer]) -> str:
        port = free_port()
        environment = {
            "NATS_EXPORTER_PORT": str(port),
            "NATS_MONITOR_URLS": ", ".join(f"http://127.0.0.1:{server.monitor_port}" for server in servers),
            "NATS_MONITOR_SECONDS": str(DEADLINE),
        }
        started.append(
            subprocess.Popen([sys.executable, "-m", "observability.nats_exporter"], cwd=ROOT, env=environment)
        )
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: serves(address), "the exporter serves")
        return address

    yield start
    for process in started:
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM  # uvicorn ends in order, then by the signal it was sent


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """Three nats-servers with one JetStream."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = []
    for number, port in enumerate(ports):
        config = tmp_path / f"n{number}.conf"
        config.write_text(
            f"server_name: n{number}\nhost: $NATS_HOST\nport: $NATS_PORT\n"
            "jetstream { store_dir: $NATS_STORE_DIR, max_file: 100MB, max_mem: 10MB }\n"
            f'cluster {{ name: three, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n'
        )
        servers.append(NatsServer(tmp_path / f"n{number}", config, monitored=True))
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def serves(address: str) -> bool:
    """Tell whether health and metrics are answered."""
    try:
        return httpx.get(f"{address}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def page_of(address: str) -> str:
    """Return the metrics page, which must come well within a scrape's own deadline."""
    answer = httpx.get(f"{address}/metrics", timeout=DEADLINE + 2)
    assert answer.status_code == 200
    return answer.text


def seen(address: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels, now."""
    return total(page_of(address), name, **labels)


async def stored(server: NatsServer, replicas: int, **login: str) -> None:
    """Make the stream ROOMS with ten records."""
    client = await nats.connect(server.url, **login, inbox_prefix="_INBOX_chat")
    stream = client.jetstream()

    async def make() -> object:
        return await stream.add_stream(name="ROOMS", subjects=["room.*.log"], num_replicas=replicas)

    await until(make, "the cluster makes a stream")
    for number in range(10):
        await stream.publish(f"room.{number}.log", b"text")
    await client.close()


async def until(act: Callable[[], Awaitable[object]], what: str) -> None:
    """Do it again until JetStream, which may still elect its leader, takes it."""
    for _ in range(20):
        try:
            await act()
            return
        except (JetStreamError, nats.errors.Error):
            continue
    raise AssertionError(f"not within 20 attempts: {what}")


async def test_one_server_is_shown_whole(nats_server: Callable[..., NatsServer], exporter: Start) -> None:
    """Figures of server, JetStream and stream are on the page, under names of the fixed list alone."""
    server = nats_server(monitored=True)
    await stored(server, 1, user="chat", password=server.passwords["chat"])
    page = page_of(exporter([server]))
    assert total(page, "gnatsd_up") == 1
    assert total(page, "gnatsd_healthz_status") == 0
    assert total(page, "gnatsd_varz_in_msgs") >= 11
    assert total(page, "gnatsd_varz_start") > 1e12  # milliseconds
    assert total(page, "jetstream_server_total_streams", is_meta_leader="true") == 1
    assert total(page, "jetstream_server_max_storage") > 0
    assert total(page, "jetstream_stream_last_seq", stream_name="ROOMS", is_stream_leader="true") == 10
    theirs = {name for name, _, _ in samples(page) if not name.startswith(("parley_", "python_", "process_"))}
    assert theirs <= NAMES
    assert not [name for name, _, _ in samples(page) if name == "parley_nats_connected"]  # it has no such connection


def test_a_server_that_hangs_costs_no_more_than_the_deadline(
    nats_server: Callable[..., NatsServer], exporter: Start
) -> None:
    """Of a stopped process and a killed one the page says that they are down, in time, and shows the third."""
    servers = [nats_server(monitored=True) for _ in range(3)]
    address = exporter(servers)
    servers[1].kill()
    stopped = subprocess.run(["kill", "-STOP", str(servers[0].pid)], check=True)
    try:
        page = page_of(address)
    finally:
        subprocess.run(["kill", "-CONT", str(servers[0].pid)], check=True)
    assert stopped.returncode == 0
    down = {labels["server_id"]: value for name, labels, value in samples(page) if name == "gnatsd_up"}
    assert list(down.values()) == [0, 0, 1]
    assert list(down)[2] == f"127.0.0.1:{servers[2].monitor_port}"
    assert serves(address), "it tells of them, so it is ready"


async def test_lost_nodes_and_a_lost_quorum_are_seen(cluster: list[NatsServer], exporter: Start) -> None:
    """One of three lost: down. Two lost: no leader in the labels, and the last one says it is not well."""
    address = exporter(cluster)
    await stored(cluster[0], 3)
    wait_until(lambda: seen(address, "jetstream_stream_last_seq", stream_name="ROOMS") == 30, "all three have it")
    page = page_of(address)
    assert total(page, "gnatsd_up") == 3
    assert total(page, "gnatsd_varz_jetstream_meta_cluster_size") == 9
    assert total(page, "jetstream_server_total_streams", is_meta_leader="true") == 1
    cluster[2].kill()
    assert seen(address, "gnatsd_up") == 2
    cluster[1].kill()
    wait_until(
        lambda: seen(address, "jetstream_server_total_streams", cluster="three", meta_leader="") == 1,
        "the last one knows of no leader",
        seconds=30,
    )
    wait_until(lambda: seen(address, "gnatsd_healthz_status") == 1, "it says it is not well", seconds=30)
    wait_until(lambda: seen(address, "jetstream_stream_last_seq", stream_leader="") == 10, "nor the stream", seconds=30)


def test_help_and_bad_settings() -> None:
    """--help tells what it is; an address that could never answer ends the start with a line."""
    command = [sys.executable, "-m", "observability.nats_exporter"]
    told = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "nats-servers" in told.stdout
    bad = subprocess.run(
        command, cwd=ROOT, env={"NATS_MONITOR_URLS": "nats-0:8222"}, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2
    assert "NATS_MONITOR_URLS" in bad.stderr
