"""Secrets made for compose and k8s, and the probe inside the images."""

import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import certificates, probe, secrets


def modes(directory: Path) -> dict[str, int]:
    """Return every path below `directory` with its mode."""
    return {str(file.relative_to(directory)): file.stat().st_mode & 0o777 for file in directory.rglob("*")}


def test_every_secret_is_random() -> None:
    """Two machines have nothing in common but the canary's name."""
    one, other = secrets.completed({}), secrets.completed({})
    same = [name for file, names in one.items() for name, value in names.items() if other[file][name] == value]
    assert same == ["CANARY_USERNAME"]
    for names in one.values():
        for name, value in names.items():
            assert name == "CANARY_USERNAME" or re.search(r"p[0-9a-f]{48}\b", value), name


def test_who_connects_has_the_password_of_whom_he_connects_to() -> None:
    """A value that two parts must agree on is made once."""
    made = secrets.completed({"k8s/secrets/nats.env": {"NATS_AUTH_PASSWORD": "of before"}})
    nats, postgres = made["k8s/secrets/nats.env"], made["k8s/secrets/postgres.env"]
    assert made["k8s/secrets/auth.env"]["NATS_PASSWORD"] == nats["NATS_AUTH_PASSWORD"] == "of before"
    assert made["k8s/secrets/chat.env"]["NATS_PASSWORD"] == nats["NATS_CHAT_PASSWORD"]
    assert made["k8s/secrets/gateway.env"]["NATS_PASSWORD"] == nats["NATS_GATEWAY_PASSWORD"]
    assert postgres["POSTGRES_CHAT_PASSWORD"] in made["k8s/secrets/chat.env"]["DATABASE_URL"]
    assert made["secrets"]["postgres_auth"] in made["secrets"]["auth_database_url"]


def test_secrets_are_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run changes nothing, a missing value is made again, and no value is ever shown."""
    assert secrets.main(["--root", str(tmp_path)]) == 0
    first = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert secrets.main(["--root", str(tmp_path)]) == 0
    assert {file: file.read_bytes() for file in first} == first
    (tmp_path / "secrets" / "api_key").unlink()
    assert secrets.main(["--root", str(tmp_path)]) == 0
    changed = [file.name for file, content in first.items() if file.read_bytes() != content]
    assert changed == ["api_key"]
    shown = capsys.readouterr().out
    assert not [value for names in secrets.read(tmp_path).values() for value in names.values() if value in shown]


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    """Only the owner passes the directories; inside, what containers mount is readable, all else is the owner's."""
    (tmp_path / "secrets").mkdir(mode=0o755)
    secrets.main(["--root", str(tmp_path)])
    found = modes(tmp_path)
    assert found["secrets"] == found["k8s/secrets"] == found["k8s/secrets/nats-tls"] == 0o700
    assert {mode for path, mode in found.items() if path.startswith("secrets/")} == {0o444}
    below = {m for p, m in found.items() if p.startswith("k8s/secrets/") and p != "k8s/secrets/nats-tls"}
    assert below == {0o600}


def test_compose_finds_them(tmp_path: Path) -> None:
    """`.env` leads compose to the secrets, and keeps what an operator wrote there."""
    (tmp_path / ".env").write_text("COMPOSE_PROFILES=three")
    for _ in range(2):
        secrets.main(["--root", str(tmp_path)])
    assert (tmp_path / ".env").read_text() == "COMPOSE_PROFILES=three\nPARLEY_SECRETS=./secrets\n"


def shaken(server: ssl.SSLObject, client: ssl.SSLObject, wires: tuple[ssl.MemoryBIO, ...]) -> None:
    """Let a client and a server in memory greet each other until both are content."""
    to_client, from_client, to_server, from_server = wires
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass  # waits for the other side
            to_server.write(from_client.read())
            to_client.write(from_server.read())


@pytest.mark.parametrize("name", ["nats", "nats.parley.svc", "nats-1.nats-headless", "127.0.0.1"])
def test_the_certificate_convinces(tmp_path: Path, name: str) -> None:
    """A client that knows the authority accepts every name of a server, by the strict rules."""
    certificates.ensure(tmp_path)
    known = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    known.verify_flags |= ssl.VERIFY_X509_STRICT
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    to_client, from_client, to_server, from_server = wires = tuple(ssl.MemoryBIO() for _ in range(4))
    server = own.wrap_bio(to_server, from_server, server_side=True)
    client = known.wrap_bio(to_client, from_client, server_hostname=name)
    shaken(server, client, wires)
    assert client.version() == "TLSv1.3"


def test_a_certificate_of_others_is_left_alone(tmp_path: Path) -> None:
    """Without the authority's key nothing is signed, and nothing is replaced."""
    certificates.ensure(tmp_path)
    (tmp_path / "ca.key").unlink()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert "is kept" in certificates.ensure(tmp_path)[0]
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.fixture
def asked() -> Iterator[str]:
    """The address of a service that is alive and not ready."""

    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health/live" else 503)
            self.end_headers()
            self.wfile.write(b"as asked")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)


def test_the_probe_says_what_it_was_told(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    """200 is well, any other answer or none is not, and the reason is shown."""
    assert probe.main([f"{asked}/health/live"]) == 0
    assert probe.main([f"{asked}/health/ready"]) == 1
    assert capsys.readouterr().out.splitlines() == ["200 as asked", "503 as asked"]


def test_the_probe_without_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody there is not well; a question that cannot be understood is neither."""
    assert probe.main(["http://127.0.0.1:1/health/live"]) == 1
    assert "does not answer" in capsys.readouterr().out
    assert probe.main(["9000"]) == 2
