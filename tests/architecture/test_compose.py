"""What docker-compose.yml and the Dockerfile promise: every part contained, bounded, checked, and no secret in them."""

import re
from itertools import pairwise
from typing import Any

import pytest
import yaml

from chassis.app import VERSION
from deploy import images, secrets
from tests.architecture.source import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ONCE = {"migrate-auth", "migrate-chat"}
MAY_ADD = {
    "postgres": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"},
    "proxy": {"NET_BIND_SERVICE"},
}
"""Capabilities that an image of others needs to start; ours need none."""
PUBLISHED = {"proxy", "prometheus", "alertmanager", "grafana"}


class _Overrides(yaml.SafeLoader):
    """Knows compose's tags, which say what an override takes away."""


_Overrides.add_constructor("!reset", lambda _loader, _node: None)


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_contained(name: str) -> None:
    """A container writes where it was given room, gains no rights, and its limits and logs have an end."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", ())) == MAY_ADD.get(name, set())
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert "disable" in service["healthcheck"] if name in ONCE else service["healthcheck"]["test"]
    assert service["stop_grace_period"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", ["gateway-1", "gateway-2"])
def test_a_gateway_has_the_time_to_drain(name: str) -> None:
    """Docker kills no gateway that still closes its connections one by one: delay, drain, and 10 s to end."""
    settings = SERVICES[name]["environment"]
    drain = int(settings["GATEWAY_DRAIN_DELAY_SECONDS"]) + int(settings["GATEWAY_DRAIN_SECONDS"]) + 10
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= drain


def test_secrets_come_from_files_alone() -> None:
    """No value of a secret stands in the file, and compose refuses to start without those of `make secrets`."""
    assert set(COMPOSE["secrets"]) == set(secrets.SOURCES[secrets.COMPOSE])
    for name, secret in COMPOSE["secrets"].items():
        assert secret["file"].startswith(f"${{{secrets.POINTER}:?"), name
        assert secret["file"].endswith(f"/{name}")
    for name, service in SERVICES.items():
        for setting in service.get("environment", {}):
            assert not re.search(r"(PASSWORD|SECRET|KEY|DATABASE_URL)$", setting), f"{name}: {setting}"


def test_images_have_a_version() -> None:
    """Ours are of this version, and nothing is whatever is latest."""
    ours = {service["image"] for service in SERVICES.values() if service["image"].startswith("parley-")}
    assert ours == {f"parley-{target}:${{PARLEY_VERSION:-{VERSION}}}" for target in images.TARGETS}
    assert images.version((ROOT / "chassis" / "app.py").read_text()) == VERSION
    for name, service in SERVICES.items():
        assert ":" in service["image"], name
        assert not service["image"].endswith(":latest"), name


def test_one_way_in_and_one_network_out() -> None:
    """What is published is so on the loopback, and only the network `outside` leads out."""
    assert {name for name, service in SERVICES.items() if service.get("ports")} == PUBLISHED
    for name in PUBLISHED:
        (port,) = SERVICES[name]["ports"]
        assert port.startswith(("127.0.0.1:", "${PARLEY_BIND:-127.0.0.1}:")), name
    outward = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert outward == {"outside"}
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == PUBLISHED


def test_the_host_network_knows_everybody() -> None:
    """compose/host-network.yml gives each service an address of its own, but Grafana, whose image is nowhere there."""
    override = yaml.load((ROOT / "compose" / "host-network.yml").read_text(), _Overrides)  # noqa: S506  # a SafeLoader
    assert set(override["services"]) == set(SERVICES)
    assert override["services"].pop("grafana") is None
    assert all(service["network_mode"] == "host" for service in override["services"].values())
    hosts = override["x-host"]["extra_hosts"]
    assert set(hosts) == set(SERVICES) - ONCE - {"grafana"}
    assert len(set(hosts.values())) == len(hosts)


def test_every_image_runs_without_root() -> None:
    """Each target goes on from `runtime`, which is nobody special, and has a health check and a command of its own."""
    runtime = DOCKERFILE[DOCKERFILE.index(" AS runtime") :]
    assert "\nUSER 10001:10001\n" in runtime
    assert "\nSTOPSIGNAL SIGTERM\n" in runtime
    begins = [*re.finditer(r"^FROM runtime AS ([a-z-]+)$", DOCKERFILE, re.MULTILINE)]
    assert tuple(found[1] for found in begins) == images.TARGETS
    ends = [found.start() for found in begins] + [len(DOCKERFILE)]
    for start, end in pairwise(ends):
        target = DOCKERFILE[start:end]
        assert target.count("\nHEALTHCHECK ") == 1
        assert target.count('\nCMD ["python", "-m", ') == 1
        assert "\nUSER " not in target
