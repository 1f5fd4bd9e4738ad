"""The system under load: a ring, and beside it gateways that reach NATS through proxies that lose messages."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import processes
from tests.bench.beside import GatewayBeside
from tests.bench.lossy import LossyProxy
from tests.bench.metrics import samples
from tests.bench.ring import Ring

NAMESPACE = "load"
CHANNELS = f"""
[namespace.{NAMESPACE}]
history_size = 20000
recovery = "forced"
delta = true
subscribe = "anyone"
publish = "anyone"
history = "anyone"
"""
SETTINGS = {
    "GATEWAY_WORKERS": "1",
    "AUTH_ADDRESS_GUEST_BURST": "0",
    "AUTH_ADDRESS_SESSION_BURST": "0",
}
LOSSY_SETTINGS = {
    "GATEWAY_WORKERS": "2",
    # A loss that nothing follows is found by this check alone.
    "POSITION_CHECK_SECONDS": "2",
}


class Stage:
    """`ring` loses nothing; each of `gateways` has its own proxy, and two workers that may be killed."""

    def __init__(
        self, directory: Path, loss: float, seed: int, gateways: int = 2, more: dict[str, str] | None = None
    ) -> None:
        self._chance = random.Random(seed)
        self._stack = ExitStack()
        self._loss = loss
        self._count = gateways
        channels = directory / "channels.toml"
        directory.mkdir(parents=True, exist_ok=True)
        channels.write_text(CHANNELS)
        self.ring = Ring(directory / "data", SETTINGS | {"CHANNELS_FILE": str(channels)} | (more or {}))
        self.proxies: list[LossyProxy] = []
        self.gateways: list[GatewayBeside] = []
        self.kills = 0

    def __enter__(self) -> Self:
        try:
            self._stack.callback(self.ring.end)
            self.ring.start()
            for _ in range(self._count):
                proxy = LossyProxy(self.ring.ports["nats"], self._loss, self._chance.randrange(1 << 30))
                self.proxies.append(self._stack.enter_context(proxy))
                gateway = GatewayBeside(self.ring, proxy.url, **LOSSY_SETTINGS)
                self.gateways.append(self._stack.enter_context(gateway))
        except BaseException:  # whatever went wrong, nothing is left behind
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kill_worker(self) -> bool:
        """Kill -9 one worker of a gateway that has another; tell whether there was one."""
        for gateway in self._chance.sample(self.gateways, len(self.gateways)):
            pids = gateway.worker_pids()
            if len(pids) > 1:
                processes.kill(self._chance.choice(pids))
                self.kills += 1
                return True
        return False

    def cut_nats(self) -> None:
        """Break the connections of one gateway with NATS."""
        self._chance.choice(self.proxies).cut()

    def urls(self) -> Iterator[str]:
        """Give the WebSocket addresses of the gateways, in turn, without end."""
        while True:
            yield from (gateway.websocket_url for gateway in self.gateways)

    def counted(self, name: str, **labels: str) -> int:
        """Return a metric's sum over the gateways that may lose messages."""
        found = (sample for gateway in self.gateways for sample in samples(gateway.metrics()))
        return int(sum(value for sample, marks, value in found if sample == name and labels.items() <= marks.items()))
