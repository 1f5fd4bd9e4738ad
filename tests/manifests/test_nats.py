"""NATS as the manifests configure it, started here: one server, and three that find each other."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import nats
import pytest
from cryptography import x509
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from tests.bench.ports import wait_until
from tests.manifests.objects import Manifests
from tests.manifests.reference_rules import settings_of
from tests.manifests.servers import Server

LAME_DUCK_SECONDS = 45
ELECTION_SECONDS = 30
CHANNELS = StreamConfig(
    name="CHANNELS", subjects=["channel.*.*.log"], storage=StorageType.FILE, num_replicas=3, allow_direct=True
)
Answer = TypeVar("Answer")


@pytest.fixture
def servers(tree: Path, tmp_path: Path) -> Iterator[Callable[[Manifests], list[Server]]]:
    """Prepare one server for each Pod of an overlay's StatefulSet."""
    made: list[Server] = []

    def prepare(manifests: Manifests) -> list[Server]:
        replicas = manifests.replicas(manifests.workload("nats"))
        made.extend(Server(manifests, tree, tmp_path, f"nats-{number}") for number in range(replicas))
        return [server.prepare(made) for server in made]

    yield prepare
    for server in made:
        server.remove()


@pytest.fixture
def cluster(production: Manifests, servers: Callable[[Manifests], list[Server]]) -> list[Server]:
    """The three of production, started and healthy."""
    three = [server.start() for server in servers(production)]
    wait_until(lambda: all(server.healthy("startupProbe") for server in three), "three servers have started", 40)
    return three


def context(tree: Path) -> ssl.SSLContext:
    """Return whom a service trusts."""
    return ssl.create_default_context(cafile=tree / "k8s" / "secrets" / "nats-tls" / "ca.crt")


async def connected(production: Manifests, server: Server, service: str, trusted: ssl.SSLContext) -> Client:
    """Connect as a service does, with the password and the name that its own settings hold."""
    settings = settings_of(production, service)
    return await nats.connect(
        f"tls://127.0.0.1:{server.ports[4222]}",
        user=service,
        password=settings.nats_password.get_secret_value(),
        tls=trusted,
        tls_hostname=settings.nats_tls_hostname,
        inbox_prefix=f"_INBOX_{service}",
        connect_timeout=5,
        allow_reconnect=False,
    )


async def again(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until there is an answer: while a leader is being chosen there is none, and services ask again as well."""
    end = time.monotonic() + ELECTION_SECONDS
    while True:
        try:
            return await ask()
        except nats.errors.Error:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


async def stored(client: Client, number: int) -> int:
    """Store message `number` once, however often that takes, and return its place in the stream."""
    headers = {"Nats-Msg-Id": str(number)}
    stream = client.jetstream(timeout=5)
    return (await again(lambda: stream.publish("channel.news.today.log", b"hello", headers=headers))).seq


def test_the_configuration_is_taken(overlay: Manifests, servers: Callable[[Manifests], list[Server]]) -> None:
    """nats-server itself finds nothing wrong with the files and the environment of each Pod."""
    for server in servers(overlay):
        result = server.check()
        assert result.returncode == 0, result.stderr


def test_one_server_stands_alone(local: Manifests, servers: Callable[[Manifests], list[Server]]) -> None:
    """All three probes of the small cluster's server say yes, and what it stores is synced each time."""
    (server,) = servers(local)
    server.start()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        wait_until(lambda probe=probe: server.healthy(probe), f"{probe} says yes")  # type: ignore[misc]
    assert server.figures("/jsz")["config"]["sync_always"] is True


async def test_three_servers_hold_a_stream(production: Manifests, tree: Path, cluster: list[Server]) -> None:
    """Three find each other by TLS and password; the gateway's user makes a stream there, of which each has a copy."""
    assert all(server.healthy("readinessProbe") and server.healthy("livenessProbe") for server in cluster)
    assert all(server.figures("/jsz")["config"]["sync_always"] is True for server in cluster)
    gateway = await connected(production, cluster[0], "gateway", context(tree))
    try:
        made = await again(lambda: gateway.jetstream(timeout=5).add_stream(CHANNELS))
        assert made.cluster is not None
        assert len(made.cluster.replicas or []) == 2
        assert await stored(gateway, 1) == 1
    finally:
        await gateway.close()


async def test_nobody_comes_in_unencrypted(production: Manifests, tree: Path, cluster: list[Server]) -> None:
    """The client's port hears no password in plain text, and its certificate is of our authority alone."""
    strangers = ssl.create_default_context()
    with pytest.raises((nats.errors.Error, OSError)):
        await connected(production, cluster[0], "gateway", strangers)
    await (await connected(production, cluster[0], "gateway", context(tree))).close()
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster[0].ports[4222])
    assert b'"tls_required":true' in await asyncio.wait_for(reader.readline(), 5)
    writer.write(b'CONNECT {"user":"gateway","pass":"x"}\r\nPING\r\n')
    try:
        rest = await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        rest = b""
    assert b"PONG" not in rest
    writer.close()


async def test_a_server_leaves_and_the_others_go_on(production: Manifests, tree: Path, cluster: list[Server]) -> None:
    """preStop hands over what a server leads: publishing goes on meanwhile, and the server ends by itself."""
    leader = next(s for s in cluster if s.figures("/jsz")["meta_cluster"]["leader"] == s.name)
    others = [server for server in cluster if server is not leader]
    gateway = await connected(production, others[0], "gateway", context(tree))
    try:
        await again(lambda: gateway.jetstream(timeout=5).add_stream(CHANNELS))
        assert await stored(gateway, 1) == 1
        leader.pre_stop()
        for number in range(2, 50):
            assert await stored(gateway, number) == number
        wait_until(leader.ended, "the server has left", LAME_DUCK_SECONDS)
    finally:
        await gateway.close()


def test_the_certificate_holds_every_name(production: Manifests, tree: Path) -> None:
    """The name that clients expect, and those by which servers call each other, stand in the certificate."""
    certificate = x509.load_pem_x509_certificate((tree / "k8s" / "secrets" / "nats-tls" / "tls.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )
    assert settings_of(production, "gateway").nats_tls_hostname in names
    routes = production.environment(production.workload("nats").pod["containers"][0])["NATS_ROUTES"]
    for number in range(3):
        assert f"@nats-{number}.nats-headless:6222" in routes
        assert {f"nats-{number}.nats-headless", "*.nats-headless"} & set(names)
