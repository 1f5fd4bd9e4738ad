"""The file that declares general channels: what it says holds after a restart, and what is wrong in it is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.bench.ring import Ring

KEY = "a key of this test alone"
NEWS = """
[namespace.news]
history_size = {size}
subscribe = "anyone"
history = "anyone"
"""


def ask(ring: Ring, method: str, **body: Any) -> dict[str, Any]:
    """Return the result of a call of the server API."""
    url = f"{ring.gateway_url}/api/{method}"
    answer = httpx.post(url, json=body, headers={"X-API-Key": KEY}, trust_env=False, timeout=10)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


def kept(ring: Ring, channel: str) -> list[int]:
    """Publish ten times; return the offsets that history has then."""
    for number in range(10):
        ask(ring, "publish", channel=channel, data=number)
    return [one["offset"] for one in ask(ring, "history", channel=channel, limit=100)["publications"]]


def test_a_longer_history_holds_after_a_restart(rings: Callable[..., Ring], tmp_path: Path) -> None:
    """A namespace that keeps three publications is told to keep eight: it does, and offsets go on."""
    file = tmp_path / "channels.toml"
    file.write_text(NEWS.format(size=3))
    ring = rings(CHANNELS_FILE=str(file), API_KEY=KEY).start()
    assert kept(ring, "news:today") == [8, 9, 10]
    ring.stop()
    file.write_text(NEWS.format(size=8))
    ring.start()
    assert kept(ring, "news:today") == list(range(13, 21))


def test_a_bad_file_is_said(rings: Callable[..., Ring], tmp_path: Path) -> None:
    """A file with an unknown key ends the start with a line that names file, namespace and key."""
    file = tmp_path / "channels.toml"
    file.write_text("[namespace.news]\nhistroy_size = 3\n")
    ring = rings(CHANNELS_FILE=str(file)).launch()
    assert ring.wait_for_exit() != 0
    said = ring.output + ring.logs()
    assert "CHANNELS_FILE" in said
    assert "histroy_size" in said
    assert "Traceback" not in said
