"""Overlays as a whole: what the API takes, what components change, and what has its one home elsewhere."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import manifests, rules, schemas
from tests.manifests import availability_rules, pod_rules, reference_rules
from tests.manifests.flows import Flow
from tests.manifests.objects import NAME, Manifests, matches
from tests.manifests.test_network import possible

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = sorted(place.name for place in (ROOT / "k8s" / "components").iterdir())
WITH_CRDS = {"HTTPRoute", "PodMonitor", "PrometheusRule"}
PATHS = {
    "/": "gateway",
    "/config.json": "gateway",
    "/connection/websocket": "gateway",
    "/connection/sse": "gateway",
    "/emulation": "gateway",
    "/api/publish": "gateway",
    "/authors.js": "gateway",
    "/auth/login": "auth",
    "/auth/docs": "auth",
    "/.well-known/jwks.json": "auth",
    "/.well-known/security.txt": "gateway",
}
"""Public paths and who answers them."""

Build = Callable[..., Manifests]


@pytest.fixture
def build(tree: Path, tmp_path: Path) -> Build:
    """Make an overlay of a team: `build("production", "monitoring", ...)` adds components to one of ours."""

    def make(overlay: str, *components: str) -> Manifests:
        k8s = os.path.relpath(tree / "k8s", tmp_path.resolve())
        text = {
            "resources": [f"{k8s}/overlays/{overlay}"],
            "components": [f"{k8s}/components/{component}" for component in components],
            "namespace": "parley",
        }
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return Manifests(manifests.render(tmp_path))

    return make


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_the_api_takes_every_object(overlay: Manifests, version: str) -> None:
    """Each object is valid, without a field that nobody knows."""
    assert schemas.problems(overlay.objects, version) == []


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_a_typo_is_noticed(local: Manifests, version: str) -> None:
    """A field of another name, or a value of another type, anywhere in an object, is not taken."""
    broken = local.copy()
    container = broken.workload("gateway").pod["containers"][0]
    container["readynessProbe"] = container.pop("readinessProbe")
    broken.get("Service", "auth")["spec"]["ports"][0]["port"] = "http"
    assert len(schemas.problems(broken.objects, version)) == 2


def test_nothing_needs_a_crd(overlay: Manifests) -> None:
    """An empty cluster knows every kind of both overlays."""
    assert WITH_CRDS & {thing["kind"] for thing in overlay.objects} == set()


def test_one_command_applies_all(overlay: Manifests) -> None:
    """kubectl applies in the order of the text: the namespace comes first."""
    assert overlay.objects[0]["kind"] == "Namespace"


def test_every_component_is_tried() -> None:
    """No component is without a test here."""
    text = Path(__file__).read_text() + "".join(f.read_text() for f in ROOT.glob("k8s/overlays/*/kustomization.yaml"))
    assert [name for name in COMPONENTS if f'"{name}"' not in text and f"components/{name}\n" not in text] == []


def test_monitoring(build: Build) -> None:
    """The operator's Prometheus finds every process under the job that rules know, and has the rules."""
    made = build("production", "monitoring")
    assert reference_rules.dead_ends(made) == []
    jobs = {}
    for monitor in made.of("PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        renamed = {r["replacement"] for r in endpoint.get("relabelings", []) if r["targetLabel"] == "job"}
        for workload in made.workloads:
            if matches(monitor["spec"]["selector"], workload.labels):
                ports = {port["name"]: port["containerPort"] for port in workload.containers[0]["ports"]}
                job = renamed.pop() if renamed else workload.labels[monitor["spec"]["jobLabel"]]
                jobs[job] = ports[endpoint["port"]]
    assert jobs == {"gateway": 9000, "auth": 9001, "chat": 8002, "canary": 8003, "nats": 7777}
    assert made.get("PrometheusRule", "parley")["spec"]["groups"]


def test_scrape_annotations_name_the_same_ports(overlay: Manifests) -> None:
    """A Prometheus without its operator finds the same figures."""
    found = {}
    for workload in overlay.workloads:
        annotations = workload.object["spec"]["template"]["metadata"].get("annotations", {})
        if annotations.get("prometheus.io/scrape") == "true":
            found[workload.labels[NAME]] = int(annotations["prometheus.io/port"])
    assert found == {"gateway": 9000, "auth": 9001, "chat": 8002, "canary": 8003, "nats-exporter": 7777}


def test_rules_have_one_home() -> None:
    """The operator's rules are those of compose (`make manifests` writes them)."""
    assert (ROOT / rules.TARGET).read_text() == rules.rendered()


def test_dashboards(build: Build) -> None:
    """Every dashboard is a ConfigMap that Grafana's sidecar finds, and that kubectl can apply."""
    made = build("production", "dashboards")
    found = [o for o in made.of("ConfigMap") if o["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    assert {name for o in found for name in o["data"]} == {
        file.name for file in (ROOT / "observability" / "grafana" / "dashboards").glob("*.json")
    }
    # kubectl notes the object in an annotation of itself, and all annotations together may have 256 KiB.
    assert [o["metadata"]["name"] for o in made.objects if len(json.dumps(o)) > 200_000] == []


def test_a_database_elsewhere(build: Build) -> None:
    """Nothing of PostgreSQL is left, and the services may leave the cluster for it."""
    made = build("production", "external-postgres")
    assert [o["kind"] for o in made.objects if o["metadata"]["name"].startswith("postgres")] == []
    found = possible(made, blocks_match_pods=False)
    assert {flow.source for flow in found if (flow.target, flow.port) == ("outside", 5432)} == {
        *("auth", "auth-migrate", "chat", "chat-migrate")
    }
    assert everything_wrong(made) == []


def test_nats_elsewhere(build: Build) -> None:
    """Nothing of NATS is left, and the services may leave the cluster for it."""
    made = build("local", "external-nats")
    assert [o["kind"] for o in made.objects if o["metadata"]["name"].startswith("nats")] == []
    found = possible(made, blocks_match_pods=False)
    assert {flow.source for flow in found if (flow.target, flow.port) == ("outside", 4222)} == {
        "gateway",
        "auth",
        "chat",
    }
    assert everything_wrong(made) == []


def test_tracing(build: Build) -> None:
    """One setting, for every service that makes spans, and a way out for them."""
    made = build("production", "tracing")
    for name in ("gateway", "auth", "chat"):
        assert reference_rules.settings_of(made, name).otel_exporter_otlp_endpoint
    assert everything_wrong(made) == []


def everything_wrong(made: Manifests) -> list[str]:
    """Return what breaks a rule that holds for whatever a team puts together."""
    checks: list[Callable[[Manifests], list[str]]] = [
        pod_rules.bad_mounts,
        reference_rules.dead_ends,
        reference_rules.unresolved,
        reference_rules.unknown_settings,
        reference_rules.bad_names,
        availability_rules.unprotected,
    ]
    return [line for check in checks for line in check(made)]


def answerer(routes: list[tuple[str, bool, str]], path: str) -> str:
    """Return whose `path` is: `routes` are (path, whether exact, who); the longest that fits wins."""
    fits = [
        (exact, len(place), who)
        for place, exact, who in routes
        if path == place or (not exact and (path + "/").startswith(place.rstrip("/") + "/"))
    ]
    return max(fits)[2]


def test_an_ingress_leads_each_path_to_its_service(production: Manifests) -> None:
    """One address for the page, sign-in, the server API and sockets."""
    (rule,) = production.get("Ingress", "parley")["spec"]["rules"]
    routes = [
        (path["path"], path["pathType"] == "Exact", path["backend"]["service"]["name"])
        for path in rule["http"]["paths"]
    ]
    assert {path: answerer(routes, path) for path in PATHS} == PATHS


def test_a_route_leads_each_path_to_its_service(build: Build) -> None:
    """The same by the Gateway API."""
    made = build("production", "gateway-api")
    routes = [
        (match["path"]["value"], match["path"]["type"] == "Exact", rule["backendRefs"][0]["name"])
        for rule in made.get("HTTPRoute", "parley")["spec"]["rules"]
        for match in rule["matches"]
    ]
    assert {path: answerer(routes, path) for path in PATHS} == PATHS
    assert everything_wrong(made) == []


def test_the_public_address_has_one_home(tree: Path, tmp_path: Path) -> None:
    """Another host in address.yaml is another host everywhere."""
    mine = tree / "k8s" / "overlays" / tmp_path.name
    mine.mkdir()
    for file in (tree / "k8s" / "overlays" / "production").iterdir():
        text = file.read_text()
        if file.name == "kustomization.yaml":
            text = text.replace("  # - ../../components/gateway-api ", "  - ../../components/gateway-api #")
        (mine / file.name).write_text(text.replace("host: chat.example.com", "host: talk.test"))
    made = Manifests(manifests.render(mine))
    assert "chat.example.com" not in str(made.objects)
    assert (made.get("Ingress", "parley")["spec"]["rules"][0]["host"], hosts(made)) == ("talk.test", ["talk.test"])
    gateway = made.environment(made.workload("gateway").pod["containers"][0])
    assert gateway["PUBLIC_AUTH_URL"] == "https://talk.test/auth"
    assert gateway["PUBLIC_WEBSOCKET_URL"] == "wss://talk.test/connection/websocket"
    assert gateway["ALLOWED_ORIGINS"] == "https://talk.test"


def hosts(made: Manifests) -> list[Any]:
    """Return what the HTTPRoute listens to."""
    found: list[Any] = made.get("HTTPRoute", "parley")["spec"]["hostnames"]
    return found


def test_a_changed_setting_rolls_the_pods(local: Manifests) -> None:
    """ConfigMaps and Secrets of what runs are named after their content, so a change reaches every Pod."""
    fixed = {"auth-migrate", "chat-migrate"}
    generated = [o["metadata"]["name"] for kind in ("ConfigMap", "Secret") for o in local.of(kind)]
    assert {name for name in generated if not reference_rules.HASHED.search(name)} == fixed


def test_volumes_can_stay(overlay: Manifests) -> None:
    """What a StatefulSet makes volumes of carries nothing that a version changes: it cannot be changed later."""
    for workload in overlay.workloads:
        for claim in workload.spec.get("volumeClaimTemplates", []):
            assert set(claim["metadata"]) == {"name"}
            assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_no_flow_is_lost_with_a_component(build: Build) -> None:
    """Components add ways, and take none of the ring's."""
    plain, more = (
        possible(build("production", *names), False) for names in ((), ("monitoring", "tracing", "gateway-api"))
    )
    assert plain - more == set()
    assert Flow("gateway", "nats", 4222) in plain


def test_the_sources_are_tidy() -> None:
    """One style of YAML, and lines that fit beside each other."""
    rules_of_style = (
        "{extends: default, rules: {line-length: {max: 120}, document-start: disable, truthy: disable, "
        "braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}}}"
    )
    written = (rules.TARGET, "k8s/secrets/")
    files = [str(f.relative_to(ROOT)) for place in ("k8s", "nats") for f in sorted((ROOT / place).rglob("*.yaml"))]
    files = [file for file in files if not file.startswith(written) or file.endswith("/kustomization.yaml")]
    result = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-d", rules_of_style, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout == ""
