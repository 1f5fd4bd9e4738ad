"""Health and metrics on a port of their own: nothing of it on the public one, and nothing else there."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import websockets

from tests.bench.clients import Frames, eventually, guest, http
from tests.bench.ports import free_port
from tests.bench.ring import ROOT, Ring
from tests.system.conftest import ONE_ADDRESS

WITHIN = ("/metrics", "/health/live", "/health/ready", "/health/started")
PUBLIC = {
    "gateway": ("/", "/config.json", "/connection/sse?cf_connect={}", "/emulation", "/api/info", "/nonsense"),
    "auth": ("/.well-known/jwks.json", "/auth/docs", "/auth/openapi.json", "/auth/guest", "/nonsense"),
}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A system whose gateway and auth service have internal ports; the launcher has to find their health there."""
    internal = {f"{part.upper()}_INTERNAL_PORT": str(free_port()) for part in PUBLIC}
    ring = Ring(tmp_path_factory.mktemp("internal") / "data", internal | ONE_ADDRESS)
    try:
        yield ring.start()
    finally:
        ring.end()


def address(ring: Ring, part: str, *, internal: bool) -> str:
    """Return the base URL of a part's port."""
    port = ring.settings[f"{part.upper()}_INTERNAL_PORT"] if internal else ring.ports[part]
    return f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("part", PUBLIC)
async def test_health_and_metrics_answer_there_alone(ring: Ring, part: str) -> None:
    """What is for operators answers on the internal port; on the public one there is no such thing."""
    for path in WITHIN:
        within = await http("GET", address(ring, part, internal=True) + path)
        assert within.status_code == 200, path
        without = await http("GET", address(ring, part, internal=False) + path)
        assert (without.status_code, without.json()["code"]) == (404, "not_found"), path
        assert without.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("part", PUBLIC)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_nothing_else_answers_there(ring: Ring, part: str, method: str) -> None:
    """No public path answers on the internal port, whatever the request says about where it was sent."""
    headers = {
        "Host": f"127.0.0.1:{ring.ports[part]}",
        "X-Forwarded-Port": str(ring.ports[part]),
        "X-Forwarded-Host": f"127.0.0.1:{ring.ports[part]}",
        "Origin": ring.page_url,
        "Access-Control-Request-Method": "POST",
    }
    for path in PUBLIC[part]:
        answer = await http(method, address(ring, part, internal=True) + path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


async def test_no_header_opens_the_public_port(ring: Ring) -> None:
    """Metrics are not to be had from outside by pretending to come in by the other port."""
    port = ring.settings["GATEWAY_INTERNAL_PORT"]
    for headers in ({"Host": f"127.0.0.1:{port}"}, {"X-Forwarded-Port": port}, {"X-Forwarded-Host": f"x:{port}"}):
        answer = await http("GET", address(ring, "gateway", internal=False) + "/metrics", headers=headers)
        assert answer.status_code == 404


async def test_no_websocket_is_made_there(ring: Ring) -> None:
    """A handshake on the internal port is refused with 404; on the public one everything is as ever."""
    port = ring.settings["GATEWAY_INTERNAL_PORT"]
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://127.0.0.1:{port}/connection/websocket", proxy=None)
    assert refused.value.response.status_code == 404
    async with await Frames.open(ring) as one:
        await one.enter((await guest(ring)).access)
        room = await one.make_room()
        assert await one.say(room, "hello") == [3]


async def test_what_was_refused_is_counted(ring: Ring) -> None:
    """A request on the wrong port is counted as any other that finds nothing."""
    await http("GET", address(ring, "gateway", internal=False) + "/metrics")

    async def counted() -> bool:
        page = (await http("GET", address(ring, "gateway", internal=True) + "/metrics")).text
        return 'parley_http_requests_total{method="GET",route="unmatched",status="404"}' in page

    await eventually(counted, "it is counted")


@pytest.mark.parametrize("part", ["gateway", "auth"])
@pytest.mark.parametrize("package", ["gateway", "auth_service", "launcher"])
def test_one_port_for_both_is_refused(package: str, part: str) -> None:
    """A service does not start with the same port for inside and outside: exit code 2 and a line that names it."""
    settings = {f"{part.upper()}_PORT": "21999", f"{part.upper()}_INTERNAL_PORT": "21999"}
    ended = subprocess.run(
        [sys.executable, "-m", package],
        cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"parley: bad setting {part.upper()}_INTERNAL_PORT='21999'")
    assert f"{part.upper()}_PORT" in line
