"""nats-servers from the very manifests, on 127.0.0.1: only places and ports are other ones."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

from tests.bench.nats import program
from tests.bench.ports import free_port
from tests.manifests.objects import Manifests, Object

PORTS = (4222, 6222, 8222)


class Server:
    """One Pod of the StatefulSet `nats`, as the process that its container runs."""

    def __init__(self, manifests: Manifests, tree: Path, directory: Path, name: str) -> None:
        self.name = name
        self.ports = {port: free_port() for port in PORTS}
        self.directory = directory / name
        self._manifests = manifests
        self._process: subprocess.Popen[bytes] | None = None
        self._container: Object = manifests.workload("nats").pod["containers"][0]
        self._places = {
            "/etc/nats-tls": str(tree / "k8s" / "secrets" / "nats-tls"),
            "/etc/nats": str(self.directory / "etc"),
            "/run/nats": str(self.directory),
            '"/data"': f'"{self.directory / "data"}"',
        }

    @property
    def arguments(self) -> list[str]:
        """What the container runs, with the program of this machine."""
        return [program(), *(self._placed(word) for word in self._container["command"][1:])]

    def prepare(self, everybody: list["Server"]) -> "Server":
        """Write the configuration as the volume holds it; `everybody` are the servers that it names."""
        etc = self.directory / "etc"
        etc.mkdir(parents=True)
        config = next(v for v in self._manifests.workload("nats").pod["volumes"] if v["name"] == "config")
        for source in config["projected"]["sources"]:
            for name, text in self._manifests.data("ConfigMap", source["configMap"]["name"]).items():
                (etc / name).write_text(self._placed(text))
        given = self._manifests.environment(self._container)
        self._environment = {name: self._moved(value, everybody) for name, value in given.items()}
        return self

    def check(self) -> subprocess.CompletedProcess[str]:
        """Return what `nats-server -t` says of it."""
        return subprocess.run(
            [*self.arguments, "-t"], env=self._environment, capture_output=True, text=True, timeout=20
        )

    def start(self) -> "Server":
        """Start it; it becomes ready on its own."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.arguments, env={**os.environ, **self._environment}, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def healthy(self, probe: str) -> bool:
        """Tell what the kubelet would hear from a probe."""
        path = self._container[probe]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[8222]}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def figures(self, path: str) -> Object:
        """Return what the monitoring port tells."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[8222]}{path}", timeout=2) as answer:
            found: Object = json.load(answer)
            return found

    def pre_stop(self) -> None:
        """Run what the kubelet runs before it ends the Pod, then end it: SIGTERM follows at once."""
        assert self._process is not None
        _, *words = self._container["lifecycle"]["preStop"]["exec"]["command"]
        subprocess.run([program(), *map(self._placed, words)], check=True, timeout=10, capture_output=True)
        self._process.terminate()

    def ended(self) -> bool:
        """Tell whether the process is gone."""
        return self._process is not None and self._process.poll() is not None

    def remove(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def log(self) -> str:
        """Return what it said."""
        return (self.directory / "log").read_text()

    def _placed(self, text: str) -> str:
        for place, here in self._places.items():
            text = text.replace(place, here)
        return re.sub(r"^(\s*(?:http_)?port: )(\d+)$", lambda m: m[1] + str(self.ports[int(m[2])]), text, flags=re.M)

    def _moved(self, value: str, everybody: list["Server"]) -> str:
        value = value.replace("<metadata.name>", self.name)
        for server in everybody:
            value = value.replace(f"{server.name}.nats-headless:6222", f"localhost:{server.ports[6222]}")
        return value
