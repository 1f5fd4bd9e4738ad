"""Rules for what happens when Pods come and go. Each returns a line for each thing that breaks it."""

import re
from typing import Any

from gateway.settings import GatewaySettings
from tests.manifests.objects import Manifests, Object, Workload, matches
from tests.manifests.pod_rules import quantity
from tests.manifests.reference_rules import settings_of

MARGIN_SECONDS = 5
"""What the kubelet may lose between its steps."""

SPREAD = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
SERVER_SECONDS = 10
"""How long uvicorn waits for requests under way (chassis/server.py)."""


def unprotected(manifests: Manifests) -> list[str]:
    """Each workload of several Pods has one disruption budget, which lets one go and keeps the others."""
    wrong = []
    for workload in (w for w in manifests.workloads if w.serves):
        budgets = [b for b in manifests.of("PodDisruptionBudget") if matches(b["spec"]["selector"], workload.labels)]
        replicas = manifests.replicas(workload)
        if replicas > 1 and len(budgets) != 1:
            wrong.append(f"{workload}: {len(budgets)} disruption budgets")
        for budget in budgets:
            go = _may_go(budget["spec"], replicas)
            if go != 1:
                wrong.append(f"{workload}: {go} of {replicas} may go at once")
    return wrong


def _may_go(spec: Object, replicas: int) -> int:
    if "minAvailable" in spec:
        return max(0, replicas - int(spec["minAvailable"]))
    return int(spec["maxUnavailable"])


def abrupt(manifests: Manifests) -> list[str]:
    """Every Pod has more time to end than it takes."""
    wrong = []
    for workload in (w for w in manifests.workloads if w.serves):
        has = workload.pod.get("terminationGracePeriodSeconds", 30)
        needs = seconds_to_end(manifests, workload)
        if has < needs:
            wrong.append(f"{workload}: has {has} s to end, needs {needs:g}")
    return wrong


def seconds_to_end(manifests: Manifests, workload: Workload) -> float:
    """Return how long a Pod may need from the first step of its end to the last, with a margin."""
    hooks = [c.get("lifecycle", {}).get("preStop", {}) for c in workload.pod["containers"]]
    before = max(hook.get("sleep", {}).get("seconds", 0) for hook in hooks)
    if workload.name == "gateway":
        settings = settings_of(manifests, "gateway")
        assert isinstance(settings, GatewaySettings)
        return float(before + settings.grace_seconds + MARGIN_SECONDS)
    if workload.name == "nats":
        conf = manifests.get("ConfigMap", "nats")["data"]["nats.conf"]
        lame_duck = re.findall(r"^lame_duck_(?:grace_period|duration): (\d+)s", conf, re.MULTILINE)
        return float(sum(map(int, lame_duck)) + MARGIN_SECONDS)
    if workload.name == "chat":
        return float(before + settings_of(manifests, "chat").chat_drain_seconds + SERVER_SECONDS + MARGIN_SECONDS)  # type: ignore[attr-defined]
    return float(before + SERVER_SECONDS)


def gapped_rollouts(manifests: Manifests) -> list[str]:
    """What others rely on is replaced one by one, a new Pod proven before an old one goes, and says goodbye first."""
    wrong = []
    for workload in manifests.workloads:
        if workload.kind == "Deployment" and workload.spec["strategy"]["type"] != "Recreate":
            rolling = workload.spec["strategy"].get("rollingUpdate", {})
            if rolling != {"maxUnavailable": 0, "maxSurge": 1}:
                wrong.append(f"{workload}: {rolling}")
        if manifests.replicas(workload) > 1 and workload.spec.get("minReadySeconds", 0) < 5:
            wrong.append(f"{workload}: counts as there at once")
    for service in manifests.of("Service"):
        for workload in manifests.workloads:
            if matches({"matchLabels": service["spec"]["selector"]}, workload.labels):
                hooks = [c.get("lifecycle", {}).get("preStop") for c in workload.pod["containers"]]
                wrong += [] if all(hooks) else [f"{workload}: still sent traffic when it ends"]
    return wrong


def crowded(manifests: Manifests) -> list[str]:
    """What runs several times is spread over nodes and zones."""
    wrong = []
    for workload in (w for w in manifests.workloads if w.serves and manifests.replicas(w) > 1):
        rules = workload.pod.get("topologySpreadConstraints", [])
        keys = {rule["topologyKey"] for rule in rules if matches(rule["labelSelector"], workload.labels)}
        apart = workload.pod.get("affinity", {}).get("podAntiAffinity", {})
        for term in apart.get("preferredDuringSchedulingIgnoredDuringExecution", []):
            if matches(term["podAffinityTerm"]["labelSelector"], workload.labels):
                keys.add(term["podAffinityTerm"]["topologyKey"])
        wrong += [f"{workload}: not spread over {key}" for key in sorted(SPREAD - keys)]
        if workload.kind == "StatefulSet":
            hard = [rule for rule in rules if rule["whenUnsatisfiable"] == "DoNotSchedule" and rule["maxSkew"] == 1]
            wrong += (
                []
                if any(rule["topologyKey"] == "kubernetes.io/hostname" for rule in hard)
                else [f"{workload}: two on a node"]
            )
    return wrong


def fought_over(manifests: Manifests) -> list[str]:
    """Who is scaled has no number of its own to be set back to, and the requests that a CPU metric needs."""
    wrong = []
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        workload = manifests.workload(scaler["spec"]["scaleTargetRef"]["name"])
        if "replicas" in workload.spec:
            wrong.append(f"{workload}: replicas")
        metrics = {_metric(metric) for metric in scaler["spec"]["metrics"]}
        if metrics != {("Pods", "parley_connections"), ("Resource", "cpu")}:
            wrong.append(f"{workload}: scaled by {sorted(metrics)}")
        down = scaler["spec"]["behavior"]["scaleDown"]
        slow = down["stabilizationWindowSeconds"] >= 600 and down["policies"] == [
            {"type": "Pods", "value": 1, "periodSeconds": down["policies"][0]["periodSeconds"]}
        ]
        if not slow or down["policies"][0]["periodSeconds"] <= workload.pod["terminationGracePeriodSeconds"]:
            wrong.append(f"{workload}: shrinks fast")
    return wrong


def _metric(metric: Object) -> tuple[str, str]:
    kind = str(metric["type"])
    return kind, metric["pods"]["metric"]["name"] if kind == "Pods" else metric[kind.lower()]["name"]


def sticky(manifests: Manifests) -> list[str]:
    """Any gateway serves any client: no session affinity, and every public port says what it speaks."""
    wrong = []
    for service in manifests.of("Service"):
        name = service["metadata"]["name"]
        if service["spec"].get("sessionAffinity", "None") != "None":
            wrong.append(f"{name}: sessionAffinity")
        wanted = {"gateway": "kubernetes.io/ws", "front": "kubernetes.io/ws", "auth": "http"}.get(name)
        wrong += [f"{name}: appProtocol" for port in service["spec"]["ports"] if port.get("appProtocol") != wanted]
    return wrong


def particular(manifests: Manifests) -> list[str]:
    """No annotation or class of one ingress controller, cloud or mesh."""
    known = re.compile(r"prometheus\.io/|kustomize|kubectl\.kubernetes\.io/")
    wrong = []
    for thing in manifests.objects:
        places: list[Any] = [thing["metadata"], thing.get("spec", {}).get("template", {}).get("metadata", {})]
        for annotation in (a for place in places for a in place.get("annotations", {})):
            wrong += [] if known.match(annotation) else [f"{thing['kind']} {thing['metadata']['name']}: {annotation}"]
        if "ingressClassName" in thing.get("spec", {}) or "storageClassName" in str(thing):
            wrong.append(f"{thing['kind']} {thing['metadata']['name']}: names a class")
    return wrong


def overfull(manifests: Manifests) -> list[str]:
    """JetStream stays below its volume, and its memory below the limit of the Pod."""
    if not manifests.has("StatefulSet", "nats"):
        return []
    nats = manifests.workload("nats")
    container = nats.pod["containers"][0]
    given = manifests.environment(container)
    conf = manifests.get("ConfigMap", "nats")["data"]["nats.conf"]
    memory_store = re.search(r"max_memory_store: (\d+\w+)", conf)
    volume = quantity(nats.spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"])
    limit = quantity(container["resources"]["limits"]["memory"])
    wrong = []
    if not _bytes(given["NATS_FILE_STORE"]) < 0.95 * volume:
        wrong.append("NATS may store more than its volume holds")
    if not _bytes(given["GOMEMLIMIT"].replace("iB", "B")) <= 0.9 * limit:
        wrong.append("NATS collects its garbage too late")
    if not memory_store or not _bytes(memory_store[1]) < 0.5 * limit:
        wrong.append("NATS may keep more in memory than it has")
    return wrong


def _bytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([MG])B", text).groups()  # type: ignore[union-attr]
    return float(number) * {"M": 2**20, "G": 2**30}[unit]
