"""Reverse proxies on loopback, with the configurations of docs/proxies/ and nothing changed but addresses and times."""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.bench.fleet import Door, Fleet
from tests.bench.ports import free_port, wait_until
from tests.bench.ring import ROOT

IDLE_SECONDS = 6
"""What every idle timeout of a proxy is made: pings of 2 s are to it what pings of 25 s are to 60 s and more."""

_FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile", "envoy": "envoy.yaml"}
_IDLE = {
    "nginx": r"(proxy_(?:read|send)_timeout )60s",
    "haproxy": r"(timeout (?:client|server|tunnel) )50s",
    "envoy": r"(stream_idle_timeout: )300s",
}
NAMES = tuple(_FILES)
RELOADED_BY = {"nginx": signal.SIGHUP, "haproxy": signal.SIGUSR2}
"""Signals by which a proxy takes a changed configuration; the others are started anew."""


def program(name: str) -> str:
    """Return the path of a proxy: in PATH, where Debian puts it, or beside this Python."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}:{os.environ['PATH']}:/usr/sbin")
    assert found, f"{name} is missing: make operations-check installs envoy, .ci/run the Debian packages"
    return found


class Proxy:
    """One proxy before the gateways of `fleet`; `silent` stands for both of them when it is given."""

    def __init__(self, name: str, directory: Path, fleet: Fleet, silent: int = 0) -> None:
        self.name = name
        self.port = free_port()
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / "proxy.log"
        self._file = directory / _FILES[name]
        self._file.write_text(self._configuration(fleet, silent))
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self, fleet: Fleet, silent: int) -> str:
        text = (ROOT / "docs" / "proxies" / _FILES[self.name]).read_text()
        for number, gateway in enumerate(fleet.gateways, 1):
            port = str(silent or gateway.port)
            host = f"gateway-{number}"
            text = text.replace(f"{host}:8000 port 9000", f"127.0.0.1:{port}")
            text = text.replace(f"{host}:8000", f"127.0.0.1:{port}")
            text = text.replace(f"address: {host}, port_value: 8000", f"address: 127.0.0.1, port_value: {port}")
        # Health is asked at the public port here, and the silent stand-in has none.
        text = re.sub(r"\n[ \t]*(health_port 9000|health_check_config: .*)", "", text)
        if silent:
            text = re.sub(r"\n *option httpchk.*|\n *default-server.*|\n\t*health_.*", "", text)
            text = re.sub(r"\n      health_checks:\n(        .*\n)+", "\n", text)
        auth = str(fleet.services["auth"].port)
        text = text.replace("auth:8001", f"127.0.0.1:{auth}")
        text = text.replace("address: auth, port_value: 8001", f"address: 127.0.0.1, port_value: {auth}")
        text = text.replace("listen 8080", f"listen 127.0.0.1:{self.port}").replace(
            "bind :8080", f"bind 127.0.0.1:{self.port}"
        )
        text = text.replace("address: 0.0.0.0, port_value: 8080", f"address: 127.0.0.1, port_value: {self.port}")
        text = text.replace("\n:8080", f"\nhttp://127.0.0.1:{self.port}")
        text = text.replace("maxconn 32768", "maxconn 1000")  # a descriptor limit for more is not given everywhere
        if self.name in _IDLE:
            text, changed = re.subn(_IDLE[self.name], rf"\g<1>{IDLE_SECONDS}s", text)
            assert changed, "no idle timeout in the configuration"
        return text

    def door(self) -> Door:
        """Return where clients come in."""
        url = f"http://127.0.0.1:{self.port}"
        return Door(f"ws://127.0.0.1:{self.port}/connection/websocket", url, f"{url}/auth")

    def start(self) -> "Proxy":
        """Start it; return when it takes connections."""
        commands = {
            "nginx": ["-p", str(self.directory), "-c", str(self._file), "-g", "daemon off;", "-e", str(self._log)],
            "haproxy": ["-W", "-db", "-f", str(self._file)],
            "caddy": ["run", "--config", str(self._file), "--adapter", "caddyfile"],
            "envoy": ["-c", str(self._file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"],
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program(self.name), *commands[self.name]],
                env=os.environ | {"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self._answers() or self._process.poll() is not None, f"{self.name} answers", 30)  # type: ignore[union-attr]
        assert self._process.poll() is None, f"{self.name} ended:\n{self._log.read_text()[-2000:]}"
        return self

    def renew(self) -> None:
        """Have it take its configuration anew: by its signal, else by a restart."""
        assert self._process is not None, "not started"
        if self.name in RELOADED_BY:
            self._process.send_signal(RELOADED_BY[self.name])
        else:
            self.restart()

    def restart(self) -> None:
        """End it at once with all its connections, and start it again."""
        assert self._process is not None, "not started"
        self.stop()
        self.start()

    def stop(self) -> None:
        """End it, with its workers."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/.well-known/jwks.json", timeout=2) as answer:
                return answer.status == 200
        except (OSError, ValueError):
            return False
