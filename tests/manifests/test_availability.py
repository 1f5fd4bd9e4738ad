"""What happens when Pods come and go: drains, updates, lost nodes, more and fewer of them."""

from pathlib import Path

import yaml

from auth_service.settings import Settings as AuthSettings
from gateway.metrics import connections
from gateway.settings import GatewaySettings
from tests.manifests import availability_rules
from tests.manifests.objects import Manifests
from tests.manifests.pod_rules import quantity
from tests.manifests.reference_rules import settings_of

AUTOSCALING = Path(__file__).resolve().parents[2] / "k8s" / "components" / "autoscaling"
MIB = 2**20
PROCESS_BYTES = 85 * MIB
CONNECTION_BYTES = 22 * 1024
"""As measured: k8s/base/gateway/deployment.yaml says how."""


def test_a_node_can_be_emptied(overlay: Manifests) -> None:
    """One Pod of each kind may go at a time, so drains go on and nobody is left without."""
    assert availability_rules.unprotected(overlay) == []


def test_nobody_is_killed_while_it_ends(overlay: Manifests) -> None:
    """The time to end covers preStop, the drain of the settings and a margin."""
    assert availability_rules.abrupt(overlay) == []


def test_updates_leave_no_gap(overlay: Manifests) -> None:
    """A new Pod stands before an old one goes, one at a time."""
    assert availability_rules.gapped_rollouts(overlay) == []


def test_a_lost_node_takes_one_of_each(overlay: Manifests) -> None:
    """Pods of one kind are spread; servers of NATS never share a node where there is another."""
    assert availability_rules.crowded(overlay) == []


def test_the_autoscaler_is_alone(overlay: Manifests) -> None:
    """Gateways are scaled by connections, then CPU, slowly back; `kubectl apply` does not interfere."""
    assert availability_rules.fought_over(overlay) == []


def test_any_gateway_serves_any_client(overlay: Manifests) -> None:
    """Nothing binds a client to a Pod."""
    assert availability_rules.sticky(overlay) == []


def test_the_base_is_of_no_cluster(base: Manifests, overlay: Manifests) -> None:
    """Neither the base nor an overlay knows one controller or cloud."""
    assert availability_rules.particular(base) == []
    assert availability_rules.particular(overlay) == []


def test_nats_keeps_to_its_volume(overlay: Manifests) -> None:
    """JetStream refuses what is too much before the disk or the kernel does."""
    assert availability_rules.overfull(overlay) == []


def test_a_full_gateway_fits_into_its_memory(overlay: Manifests) -> None:
    """All connections that a Pod takes make less than half of its limit: the rest is for the storm after a loss."""
    settings = settings_of(overlay, "gateway")
    assert isinstance(settings, GatewaySettings)
    full = settings.gateway_workers * (PROCESS_BYTES + settings.max_connections * CONNECTION_BYTES)
    limit = quantity(overlay.workload("gateway").pod["containers"][0]["resources"]["limits"]["memory"])
    assert 2 * full <= limit


def test_hashing_passwords_fits_into_memory(overlay: Manifests) -> None:
    """As many passwords as are hashed at once fit beside the auth service itself."""
    settings = settings_of(overlay, "auth")
    assert isinstance(settings, AuthSettings)
    hashing = settings.auth_argon2_running * settings.auth_argon2_memory_kib * 1024
    limit = quantity(overlay.workload("auth").pod["containers"][0]["resources"]["limits"]["memory"])
    assert 110 * MIB + 2 * hashing <= limit


def test_production_has_several_of_each(production: Manifests) -> None:
    """Three gateways and NATS servers at least, two of what decides and of what signs; streams on three."""
    counted = {name: production.replicas(production.workload(name)) for name in ("gateway", "nats", "auth", "chat")}
    assert counted == {"gateway": 3, "nats": 3, "auth": 2, "chat": 2}
    assert {settings_of(production, name).nats_replicas for name in ("gateway", "auth", "chat")} == {3}


def test_the_adapter_answers_what_the_autoscaler_asks(production: Manifests) -> None:
    """The metric of the shipped adapter configuration is the one asked for, and one that gateways have."""
    metrics = production.get("HorizontalPodAutoscaler", "gateway")["spec"]["metrics"]
    asked = next(metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods")
    (rule,) = yaml.safe_load((AUTOSCALING / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == asked
    assert rule["seriesQuery"].partition("{")[0] == connections.describe()[0].name == asked
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}


def test_the_autoscaler_leaves_room(production: Manifests) -> None:
    """When one of the fewest gateways goes, the others can take its connections in."""
    settings = settings_of(production, "gateway")
    assert isinstance(settings, GatewaySettings)
    spec = production.get("HorizontalPodAutoscaler", "gateway")["spec"]
    target = quantity(next(m for m in spec["metrics"] if m["type"] == "Pods")["pods"]["target"]["averageValue"])
    fewest = spec["minReplicas"]
    assert target * fewest / (fewest - 1) <= 0.8 * settings.max_connections * settings.gateway_workers
