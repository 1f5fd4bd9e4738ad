"""Three real nats-servers on loopback that form one cluster, with the permissions that ship; without TLS."""

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.bench.nats import ROOT, program
from tests.bench.ports import free_port, wait_until

_CONFIG = """
server_name: "{name}"
host: "127.0.0.1"
port: {port}
http: "127.0.0.1:{monitor}"
pid_file: "{directory}/pid"
jetstream {{ store_dir: "{directory}/store", sync_interval: always, max_file_store: 1GB, max_memory_store: 64MB }}
max_payload: 128KB
max_control_line: 1024
lame_duck_grace_period: 1s
lame_duck_duration: 30s
cluster {{ name: "parley", host: "127.0.0.1", port: {cluster}, routes: [{routes}], no_advertise: true }}
include permissions.conf
"""


class Node:
    """One server of the cluster. `kill`, `start` and `stop` keep ports and store."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.port, self.cluster_port, self.monitor_port = free_port(), free_port(), free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.log = directory / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, routes: list[str]) -> None:
        """Write its configuration."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "nats" / "permissions.conf", self.directory)
        text = _CONFIG.format(
            name=self.name,
            port=self.port,
            monitor=self.monitor_port,
            directory=self.directory,
            cluster=self.cluster_port,
            routes=", ".join(f'"{route}"' for route in routes),
        )
        (self.directory / "nats.conf").write_text(text)

    def start(self, passwords: dict[str, str]) -> None:
        """Start it, and return without waiting for anything."""
        environment = {f"NATS_{user.upper()}_PASSWORD": f'"{password}"' for user, password in passwords.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "--config", str(self.directory / "nats.conf")],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def healthy(self) -> bool:
        """Whether every stream that it has is there and current, by its own word."""
        return self.monitor("healthz").get("status") == "ok"

    def monitor(self, page: str) -> dict[str, Any]:
        """Return a page of its monitoring port; empty while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/{page}", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                return {"status": str(error.code), "body": error.read().decode()}
        except (OSError, ValueError):
            return {}

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait(10)

    def signal(self, number: int) -> None:
        """Send it a signal: to halt it, or to have it go on."""
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def leave(self, seconds: float = 60) -> None:
        """End it by lame duck mode: it hands over what it leads, its clients go, it ends by itself."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGUSR2)
        self._process.wait(seconds)

    def stop(self) -> None:
        """End it with SIGTERM."""
        if self._process is not None and self.running:
            self._process.terminate()
            self._process.wait(20)


class Cluster:
    """Three nodes; what fails in one is gone on with by the two others."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [Node(f"nats-{number}", directory / f"nats-{number}") for number in range(3)]
        self.passwords = {user: f"{user}-password-of-a-test" for user in ("gateway", "auth", "chat", "operator")}

    @property
    def url(self) -> str:
        """What NATS_URL is."""
        return ",".join(node.url for node in self.nodes)

    def start(self, nodes: int = 3) -> "Cluster":
        """Start the first `nodes` of them; return when JetStream has a leader."""
        for node in self.nodes[:nodes]:
            self.start_node(node, nodes)
        self.wait_until_led()
        return self

    def start_node(self, node: Node, nodes: int = 3) -> None:
        """Write the configuration of `node` and start it; returns without waiting."""
        node.configure([f"nats-route://127.0.0.1:{other.cluster_port}" for other in self.nodes[:nodes]])
        node.start(self.passwords)

    def wait_until_led(self) -> None:
        """Return when JetStream has a leader."""
        wait_until(
            lambda: any(node.monitor("jsz").get("meta_cluster", {}).get("leader") for node in self.nodes),
            "JetStream has a leader",
            30,
            0.1,
        )

    def records_of(self, stream: str) -> dict[str, int]:
        """Return how many records each living node has of `stream`, by its own word: name to number."""
        return {
            node.name: found["state"]["messages"]
            for node in self.nodes
            for account in node.monitor("jsz?streams=true&leader-only=false").get("account_details", [])
            for found in account.get("stream_detail", [])
            if found["name"] == stream
        }

    def leader_of(self, stream: str, silent: Node | None = None) -> Node | None:
        """Return the node that leads `stream`, as a living node other than `silent` says it; None: there is none."""
        for node in (one for one in self.nodes if one.running and one is not silent):
            page = node.monitor("jsz?streams=true&leader-only=false")
            for account in page.get("account_details", []):
                for found in account.get("stream_detail", []):
                    leader = found.get("cluster", {}).get("leader")
                    if found["name"] == stream and leader:
                        return next((one for one in self.nodes if one.name == leader and one.running), None)
        return None

    def wait_until_healthy(self, seconds: float = 60) -> None:
        """Return when every node has everything."""
        wait_until(lambda: all(node.healthy for node in self.nodes), "every node is healthy", seconds, 0.2)

    def stop(self) -> None:
        """End every node."""
        for node in self.nodes:
            node.stop()
