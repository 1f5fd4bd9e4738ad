"""Rules for what objects say of one another. Each returns a line for each thing that breaks it."""

import os
import re
from collections.abc import Iterator
from unittest import mock

from auth_service.settings import Settings as AuthSettings
from canary.settings import Settings as CanarySettings
from chassis.app import VERSION
from chassis.settings import BadSetting, Settings
from chat_service.settings import Settings as ChatSettings
from deploy.secrets import K8S, SOURCES
from gateway.settings import GatewaySettings
from observability.settings import ExporterSettings
from tests.manifests.objects import NAMESPACE, Manifests, Object, Unresolved, Workload, matches, original

SETTINGS: dict[str, type[Settings]] = {
    "parley-gateway": GatewaySettings,
    "parley-auth": AuthSettings,
    "parley-chat": ChatSettings,
    "parley-canary": CanarySettings,
    "parley-nats-exporter": ExporterSettings,
}
CLUSTER_WIDE = {"Namespace"}
HASHED = re.compile(r"-[2456789bcdfghkmt]{10}$")
SECRET_FILES = {"auth-migrate": "auth", "chat-migrate": "chat"}
"""Secrets that are made of the file of another name."""


def settings_of(manifests: Manifests, name: str) -> Settings:
    """Return the settings as the containers of workload `name` read them; raise `BadSetting`."""
    container = manifests.workload(name).pod["containers"][0]
    with mock.patch.dict(os.environ, manifests.environment(container), clear=True):
        return SETTINGS[container["image"].partition(":")[0]].load()


def unknown_settings(manifests: Manifests) -> list[str]:
    """Every variable that one of our containers is given is a setting of its service, with a value that it takes."""
    wrong = []
    for workload, container, name in manifests.containers():
        settings = SETTINGS.get(container["image"].partition(":")[0])
        if settings is None:
            continue
        try:
            given = manifests.environment(container)
            wrong += [f"{name}: {v} is no setting" for v in given if v.lower() not in settings.model_fields]
            settings_of(manifests, workload.name)
        except (Unresolved, BadSetting) as error:
            wrong.append(f"{name}: {error}")
    return wrong


def unresolved(manifests: Manifests) -> list[str]:
    """Every ConfigMap, Secret and key that a Pod refers to is there, and each $(NAME) is known where it stands."""
    wrong = []
    for _, container, name in manifests.containers():
        try:
            manifests.environment(container)
        except Unresolved as error:
            wrong.append(f"{name}: {error}")
    for workload in manifests.workloads:
        for kind, name, keys in _mounted(workload):
            if not manifests.has(kind, name):
                wrong.append(f"{workload}: there is no {kind} {name}")
                continue
            thing = next(o for o in manifests.of(kind) if o["metadata"]["name"] == name)
            wrong += [f"{workload}: {kind} {name} has no {key}" for key in keys if key not in thing["data"]]
    return wrong


def _mounted(workload: Workload) -> Iterator[tuple[str, str, list[str]]]:
    for volume in workload.pod.get("volumes", []):
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            if "configMap" in source:
                keys = [item["key"] for item in source["configMap"].get("items", [])]
                yield "ConfigMap", source["configMap"]["name"], keys
            if "secret" in source:
                keys = [item["key"] for item in source["secret"].get("items", [])]
                yield "Secret", source["secret"].get("secretName") or source["secret"]["name"], keys


def unmade_secrets(manifests: Manifests) -> list[str]:
    """Every key of a Secret that a container is given is one that `python -m deploy.secrets` makes."""
    wrong = []
    for _, container, name in manifests.containers():
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                secret = original(reference["name"])
                if reference["key"] not in SOURCES.get(f"{K8S}/{SECRET_FILES.get(secret, secret)}.env", {}):
                    wrong.append(f"{name}: {secret} {reference['key']}")
    return wrong


def plain_secrets(manifests: Manifests) -> list[str]:
    """No value of a Secret stands in another object."""
    values = {
        value
        for secret in manifests.of("Secret")
        for name, value in manifests.data("Secret", secret["metadata"]["name"]).items()
        if name.isupper() and name != "CANARY_USERNAME"
    }
    others = [thing for thing in manifests.objects if thing["kind"] != "Secret"]
    return [f"{thing['kind']} {thing['metadata']['name']}" for thing in others if any(v in str(thing) for v in values)]


def dead_ends(manifests: Manifests) -> list[str]:
    """Services, disruption budgets, autoscalers, Ingresses and monitors lead to something that is there."""
    wrong = []
    for service in manifests.of("Service"):
        name = service["metadata"]["name"]
        behind = [w for w in manifests.workloads if matches({"matchLabels": service["spec"]["selector"]}, w.labels)]
        ports = {port["name"] for w in behind for c in w.containers for port in c.get("ports", [])}
        wrong += [] if behind else [f"Service {name}: selects nothing"]
        wrong += [
            f"Service {name}: no port {p['targetPort']}"
            for p in service["spec"]["ports"]
            if p["targetPort"] not in ports
        ]
    for kind in ("PodDisruptionBudget", "PodMonitor", "NetworkPolicy"):
        for thing in manifests.of(kind):
            selector = thing["spec"].get("podSelector" if kind == "NetworkPolicy" else "selector")
            if not any(matches(selector, workload.labels) for workload in manifests.workloads):
                wrong.append(f"{kind} {thing['metadata']['name']}: selects nothing")
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if not manifests.has(target["kind"], target["name"]):
            wrong.append(f"HorizontalPodAutoscaler {scaler['metadata']['name']}: no {target['name']}")
    for workload in manifests.workloads:
        governing = workload.spec.get("serviceName")
        if workload.kind == "StatefulSet" and not (governing and manifests.has("Service", governing)):
            wrong.append(f"{workload}: no Service {governing}")
    return wrong + list(_dead_routes(manifests))


def _dead_routes(manifests: Manifests) -> Iterator[str]:
    ports = {
        (service["metadata"]["name"], port[key])
        for service in manifests.of("Service")
        for port in service["spec"]["ports"]
        for key in ("name", "port")
    }
    for ingress in manifests.of("Ingress"):
        for path in (path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]):
            service = path["backend"]["service"]
            if (service["name"], *service["port"].values()) not in ports:
                yield f"Ingress: {path['path']} leads nowhere"
    for route in manifests.of("HTTPRoute"):
        for end in (end for rule in route["spec"]["rules"] for end in rule["backendRefs"]):
            if (end["name"], end["port"]) not in ports:
                yield f"HTTPRoute: {end} leads nowhere"


def crossed_selectors(manifests: Manifests) -> list[str]:
    """Each workload selects its own Pods and nobody else's, by labels that no version changes."""
    wrong = []
    for workload in (w for w in manifests.workloads if w.serves):
        selector = workload.spec["selector"]
        if not matches(selector, workload.labels):
            wrong.append(f"{workload}: does not select its own Pods")
        wrong += [
            f"{workload}: selects those of {w}"
            for w in manifests.workloads
            if w != workload and matches(selector, w.labels)
        ]
        if any("version" in key for key in selector["matchLabels"]):
            wrong.append(f"{workload}: selects by version")
    return wrong


def changing_jobs(manifests: Manifests) -> list[str]:
    """A Job is named after the version, is forgotten when done, and is made of nothing else that changes."""
    wrong = []
    for job in (workload for workload in manifests.workloads if workload.kind == "Job"):
        if not job.name.endswith("-" + VERSION.replace(".", "-")):
            wrong.append(f"{job}: not named after {VERSION}")
        wrong += [
            f"{job}: no {what}" for what in ("ttlSecondsAfterFinished", "activeDeadlineSeconds") if what not in job.spec
        ]
        wrong += [f"{job}: {name} follows its content" for name in _names(job.object["spec"]) if HASHED.search(name)]
        if "selector" in job.spec:
            wrong.append(f"{job}: has a selector")
    return wrong


def _names(thing: object) -> Iterator[str]:
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in ("name", "secretName") and isinstance(value, str):
                yield value
            yield from _names(value)
    elif isinstance(thing, list):
        for one in thing:
            yield from _names(one)


def bad_names(manifests: Manifests) -> list[str]:
    """Names have the form and length that the API server takes, and nothing is there twice or in another namespace."""
    wrong = []
    seen = set()
    for thing in manifests.objects:
        name = thing["metadata"]["name"]
        key = (thing["apiVersion"], thing["kind"], name)
        wrong += [f"{thing['kind']} {name}: twice"] if key in seen else []
        seen.add(key)
        # What a controller appends to make a Pod's name must fit into 63 as well.
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name):
            wrong.append(f"{thing['kind']} {name}: no DNS label of at most 52")
        if thing["kind"] not in CLUSTER_WIDE and thing["metadata"].get("namespace") != NAMESPACE:
            wrong.append(f"{thing['kind']} {name}: not in {NAMESPACE}")
    for _, container, name in manifests.containers():
        ports: list[Object] = container.get("ports", [])
        for port in ports:
            if not re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", port["name"]):
                wrong.append(f"{name}: port {port['name']}")
        variables = [variable["name"] for variable in container.get("env", [])]
        wrong += [f"{name}: {variable} twice" for variable in set(variables) if variables.count(variable) > 1]
        for what in ("name", "containerPort"):
            wrong += [f"{name}: two ports {what}"] if len({port[what] for port in ports}) < len(ports) else []
    return wrong
