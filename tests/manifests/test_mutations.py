"""Each rule is broken once, in a copy of the manifests: a rule that notices nothing holds nothing."""

import inspect
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.manifests import availability_rules, pod_rules, reference_rules
from tests.manifests.flows import Flow
from tests.manifests.objects import Manifests, Object
from tests.manifests.test_network import expected, possible

Rule = Callable[[Manifests], list[str]]
Mutation = Callable[[Manifests], object]


def pod(manifests: Manifests, name: str) -> Object:
    """Return the Pods' specification of one workload."""
    return manifests.workload(name).pod


def container(manifests: Manifests, name: str) -> Object:
    """Return the first container of one workload."""
    first: Object = pod(manifests, name)["containers"][0]
    return first


def named(things: list[Object], name: str) -> Object:
    """Return the one of `things` that has this name."""
    return next(thing for thing in things if thing["name"] == name)


def job_with_hash(manifests: Manifests) -> None:
    """Let a Job refer to a Secret whose name follows its content."""
    hashed = manifests.get("Secret", "auth")["metadata"]["name"]
    named(container(manifests, "auth-migrate")["env"], "AUTH_DATABASE_URL")["valueFrom"]["secretKeyRef"]["name"] = (
        hashed
    )


def password_in_config(manifests: Manifests) -> None:
    """Write a password where anybody reads it."""
    secret = manifests.get("Secret", "gateway")["metadata"]["name"]
    manifests.get("ConfigMap", "gateway")["data"]["X"] = manifests.data("Secret", secret)["NATS_PASSWORD"]


MUTATIONS: list[tuple[Rule, Mutation]] = [
    (pod_rules.lacks_probes, lambda m: container(m, "chat").pop("startupProbe")),
    (pod_rules.lacks_probes, lambda m: container(m, "auth")["readinessProbe"]["httpGet"].update(path="/health/live")),
    (pod_rules.lacks_probes, lambda m: container(m, "gateway")["livenessProbe"]["httpGet"].update(port="http")),
    (pod_rules.lacks_probes, lambda m: container(m, "nats")["livenessProbe"]["httpGet"].update(port="monitoring")),
    (pod_rules.unbounded, lambda m: container(m, "postgres")["resources"]["limits"].pop("memory")),
    (pod_rules.unbounded, lambda m: container(m, "auth-migrate")["resources"]["requests"].update(memory="1Gi")),
    (pod_rules.unbounded, lambda m: named(pod(m, "gateway")["volumes"], "tmp").update(emptyDir={})),
    (pod_rules.unrestricted, lambda m: pod(m, "postgres")["securityContext"].pop("seccompProfile")),
    (pod_rules.unrestricted, lambda m: pod(m, "chat-migrate")["securityContext"].update(runAsNonRoot=False)),
    (pod_rules.unrestricted, lambda m: container(m, "nats")["securityContext"]["capabilities"].update(add=["KILL"])),
    (pod_rules.unrestricted, lambda m: container(m, "canary")["securityContext"].update(readOnlyRootFilesystem=False)),
    (
        pod_rules.unrestricted,
        lambda m: pod(m, "chat").update(initContainers=[{"name": "wait", "image": "parley-chat:1"}]),
    ),
    (pod_rules.unrestricted, lambda m: pod(m, "chat")["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    (pod_rules.loose_images, lambda m: container(m, "nats").update(image="nats:latest")),
    (pod_rules.loose_images, lambda m: container(m, "gateway").update(image="parley-gateway:0.0.9")),
    (pod_rules.loose_images, lambda m: container(m, "auth").pop("imagePullPolicy")),
    (pod_rules.tokens, lambda m: pod(m, "gateway").pop("automountServiceAccountToken")),
    (pod_rules.tokens, lambda m: pod(m, "chat").update(serviceAccountName="default")),
    (pod_rules.service_variables, lambda m: pod(m, "auth").update(enableServiceLinks=True)),
    (
        pod_rules.bad_mounts,
        lambda m: named(container(m, "nats")["volumeMounts"], "run").update(mountPath="/etc/nats/run"),
    ),
    (pod_rules.bad_mounts, lambda m: pod(m, "gateway")["volumes"].pop()),
    (
        pod_rules.nowhere_to_write,
        lambda m: named(container(m, "chat")["volumeMounts"], "data").update(mountPath="/dat"),
    ),
    (
        reference_rules.unknown_settings,
        lambda m: container(m, "gateway")["env"].append({"name": "API_KEI", "value": "x"}),
    ),
    (reference_rules.unknown_settings, lambda m: m.get("ConfigMap", "gateway")["data"].update(MAX_CONNECTIONS="many")),
    (reference_rules.unresolved, lambda m: container(m, "chat")["envFrom"][0]["configMapRef"].update(name="common")),
    (reference_rules.unresolved, lambda m: container(m, "nats")["env"].reverse()),
    (reference_rules.unresolved, lambda m: m.get("ConfigMap", "postgres")["data"].pop("passwd")),
    (
        reference_rules.unmade_secrets,
        lambda m: container(m, "canary")["env"][0]["valueFrom"]["secretKeyRef"].update(key="X"),
    ),
    (reference_rules.plain_secrets, password_in_config),
    (reference_rules.dead_ends, lambda m: m.get("Service", "gateway")["spec"]["selector"].update(tier="x")),
    (reference_rules.dead_ends, lambda m: m.get("Service", "nats")["spec"]["ports"][0].update(targetPort="clients")),
    (reference_rules.dead_ends, lambda m: m.workload("nats").object["spec"].update(serviceName="nats-heedless")),
    (
        reference_rules.dead_ends,
        lambda m: m.get("PodDisruptionBudget", "auth")["spec"].update(selector={"matchLabels": {"a": "b"}}),
    ),
    (
        reference_rules.crossed_selectors,
        lambda m: m.workload("auth").object["spec"].update(selector={"matchLabels": {}}),
    ),
    (reference_rules.changing_jobs, job_with_hash),
    (
        reference_rules.changing_jobs,
        lambda m: m.workload("chat-migrate").object["metadata"].update(name="chat-migrate-0-0-9"),
    ),
    (reference_rules.changing_jobs, lambda m: m.workload("auth-migrate").object["spec"].pop("ttlSecondsAfterFinished")),
    (reference_rules.bad_names, lambda m: container(m, "gateway")["ports"][1].update(name="internal-metrics")),
    (reference_rules.bad_names, lambda m: container(m, "chat")["env"].append({"name": "NATS_PASSWORD", "value": "x"})),
    (reference_rules.bad_names, lambda m: m.get("Service", "auth")["metadata"].update(namespace="default")),
    (availability_rules.unprotected, lambda m: m.objects.remove(m.get("PodDisruptionBudget", "gateway"))),
    (
        availability_rules.unprotected,
        lambda m: m.get("PodDisruptionBudget", "gateway")["spec"].update(maxUnavailable=0),
    ),
    (availability_rules.abrupt, lambda m: m.get("ConfigMap", "gateway")["data"].update(GATEWAY_DRAIN_SECONDS="40")),
    (availability_rules.abrupt, lambda m: pod(m, "nats").update(terminationGracePeriodSeconds=30)),
    (availability_rules.abrupt, lambda m: container(m, "gateway")["lifecycle"]["preStop"]["sleep"].update(seconds=15)),
    (
        availability_rules.gapped_rollouts,
        lambda m: m.workload("gateway").object["spec"]["strategy"].pop("rollingUpdate"),
    ),
    (availability_rules.gapped_rollouts, lambda m: m.workload("gateway").object["spec"].pop("minReadySeconds")),
    (availability_rules.gapped_rollouts, lambda m: container(m, "auth").pop("lifecycle")),
    (availability_rules.crowded, lambda m: pod(m, "gateway")["topologySpreadConstraints"].pop()),
    (
        availability_rules.crowded,
        lambda m: pod(m, "gateway")["topologySpreadConstraints"][0]["labelSelector"].update(matchLabels={"a": "b"}),
    ),
    (availability_rules.sticky, lambda m: m.get("Service", "gateway")["spec"].update(sessionAffinity="ClientIP")),
    (availability_rules.sticky, lambda m: m.get("Service", "gateway")["spec"]["ports"][0].pop("appProtocol")),
    (
        availability_rules.particular,
        lambda m: m.get("Service", "gateway")["metadata"].update(annotations={"nginx.org/x": "1"}),
    ),
    (availability_rules.overfull, lambda m: named(container(m, "nats")["env"], "NATS_FILE_STORE").update(value="20GB")),
    (availability_rules.overfull, lambda m: container(m, "nats")["resources"]["limits"].update(memory="200Mi")),
]

PRODUCTION_MUTATIONS: list[tuple[Rule, Mutation]] = [
    (availability_rules.fought_over, lambda m: m.workload("gateway").object["spec"].update(replicas=3)),
    (availability_rules.fought_over, lambda m: m.get("HorizontalPodAutoscaler", "gateway")["spec"]["metrics"].pop(0)),
    (
        availability_rules.fought_over,
        lambda m: m.get("HorizontalPodAutoscaler", "gateway")["spec"]["behavior"]["scaleDown"].update(
            stabilizationWindowSeconds=0
        ),
    ),
    (
        availability_rules.crowded,
        lambda m: pod(m, "nats")["topologySpreadConstraints"][0].update(whenUnsatisfiable="ScheduleAnyway"),
    ),
    (availability_rules.crowded, lambda m: pod(m, "nats").pop("affinity")),
    (availability_rules.unprotected, lambda m: m.get("PodDisruptionBudget", "nats")["spec"].update(maxUnavailable=2)),
    (
        reference_rules.dead_ends,
        lambda m: m.get("Ingress", "parley")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(
            name="login"
        ),
    ),
]


@pytest.mark.parametrize(("rule", "mutate"), MUTATIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_manifest_is_noticed(local: Manifests, rule: Rule, mutate: Mutation) -> None:
    """The rule finds nothing in what ships, and something once it is broken."""
    broken = local.copy()
    mutate(broken)
    assert rule(local) == []
    assert rule(broken) != []


@pytest.mark.parametrize(("rule", "mutate"), PRODUCTION_MUTATIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_production_is_noticed(production: Manifests, rule: Rule, mutate: Mutation) -> None:
    """The same for what production has alone."""
    broken = production.copy()
    mutate(broken)
    assert rule(production) == []
    assert rule(broken) != []


@pytest.mark.parametrize("module", [pod_rules, reference_rules, availability_rules], ids=lambda m: m.__name__)
def test_every_rule_is_broken_once(module: ModuleType) -> None:
    """No rule is without a manifest that breaks it."""
    rules = {
        function
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not function.__name__.startswith("_")
        and list(inspect.signature(function).parameters) == ["manifests"]
    }
    assert rules - {rule for rule, _ in MUTATIONS + PRODUCTION_MUTATIONS} == set()


@pytest.mark.parametrize(
    ("policy", "part", "flow"),
    [
        ("default-deny", "", Flow("stranger", "unknown", 8080)),
        ("gateway", "egress", Flow("gateway", "nats", 4222)),
        ("nats", "ingress", Flow("chat", "nats", 4222)),
        ("names", "egress", Flow("chat", "dns", 53, "UDP")),
        ("chat", "ingress", Flow("prometheus", "chat", 8002)),
    ],
)
def test_a_missing_policy_is_noticed(local: Manifests, policy: str, part: str, flow: Flow) -> None:
    """Without a policy, or without one side of it, what is possible is not what must be."""
    broken = local.copy()
    if part:
        broken.get("NetworkPolicy", policy)["spec"][part] = []
    else:
        broken.objects.remove(broken.get("NetworkPolicy", policy))
    assert flow in possible(broken, blocks_match_pods=True) ^ expected(broken)
