"""Rules for Pods and their containers. Each returns a line for each thing that breaks it."""

import re
from collections.abc import Iterator

from chassis.app import VERSION
from tests.manifests.objects import Manifests, Object, Workload

HEALTH = {"startupProbe": "/health/started", "livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
VOLUMES = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
"""What Pod Security `restricted` lets a Pod mount."""

HOST = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 1e-3, "": 1}


def quantity(text: object) -> float:
    """Return a quantity of Kubernetes as a number: "500m" is 0.5, "1Ki" 1024."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def is_ours(container: Object) -> bool:
    """Tell whether a container runs an image of this repository."""
    return "parley-" in container["image"]


def lacks_probes(manifests: Manifests) -> list[str]:
    """What serves is asked three questions, which differ, at ports it has."""
    wrong = []
    for workload, container, name in manifests.containers():
        if not workload.serves or container not in workload.pod["containers"]:
            continue
        ports = {port["name"] for port in container.get("ports", [])}
        asked = {probe: container.get(probe) for probe in HEALTH}
        wrong += [f"{name}: no {probe}" for probe, question in asked.items() if not question]
        for probe, question in ((p, q) for p, q in asked.items() if q):
            place = question.get("httpGet") or question.get("tcpSocket")
            if place and place["port"] not in ports:
                wrong.append(f"{name}: {probe} asks a port that is none of its own: {place['port']}")
            if is_ours(container) and (question.get("httpGet") or {}).get("path") != HEALTH[probe]:
                wrong.append(f"{name}: {probe} does not ask {HEALTH[probe]}")
            if is_ours(container) and place and place["port"] != "internal":
                wrong.append(f"{name}: {probe} asks the public port")
    return wrong


def unbounded(manifests: Manifests) -> list[str]:
    """Every container says what it needs and what it may take; the memory that it needs is not all that it may take."""
    wrong = []
    for _, container, name in manifests.containers():
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            wrong += [f"{name}: no {kind}.{what}" for what in ("cpu", "memory") if what not in resources.get(kind, {})]
        for what in ("cpu", "memory"):
            needs, may = (resources.get(kind, {}).get(what, 1) for kind in ("requests", "limits"))
            if quantity(needs) > quantity(may):
                wrong.append(f"{name}: needs more {what} than it may take")
    for workload in manifests.workloads:
        for volume in workload.pod.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                wrong.append(f"{workload}: volume {volume['name']} has no limit")
    return wrong


def unrestricted(manifests: Manifests) -> list[str]:
    """What Pod Security `restricted` demands, and a root file system that nobody writes to."""
    wrong = []
    for workload in manifests.workloads:
        pod = workload.pod
        security = pod.get("securityContext", {})
        wrong += [f"{workload}: {setting}" for setting in HOST if setting in pod]
        wrong += [f"{workload}: volume {v['name']}" for v in pod.get("volumes", []) if not VOLUMES & set(v)]
        wrong += [f"{workload}: sysctls" for _ in security.get("sysctls", [])]
        wrong += [f"{workload}: {container['name']}: {line}" for container, line in _unrestricted(workload, security)]
    return wrong


def _unrestricted(workload: Workload, pod: Object) -> Iterator[tuple[Object, str]]:
    for container in workload.containers:
        own = container.get("securityContext", {})
        both = {**pod, **own}
        if both.get("runAsNonRoot") is not True:
            yield container, "may run as root"
        if not both.get("runAsUser"):
            yield container, "no user"
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield container, "no seccomp profile"
        if own.get("allowPrivilegeEscalation") is not False:
            yield container, "may gain privileges"
        if own.get("privileged") or own.get("procMount", "Default") != "Default":
            yield container, "privileged"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
            yield container, "has capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield container, "may write its root"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield container, "takes a port of the node"


def loose_images(manifests: Manifests) -> list[str]:
    """Every image has a version, ours that of the code; none is pulled when it is there."""
    wrong = []
    for _, container, name in manifests.containers():
        image, _, tag = container["image"].rpartition(":")
        if not image or "/" in tag or tag == "latest":
            wrong.append(f"{name}: {container['image']} has no version")
        elif is_ours(container) and tag != VERSION:
            wrong.append(f"{name}: {container['image']} is not {VERSION}")
        if container.get("imagePullPolicy") != "IfNotPresent":
            wrong.append(f"{name}: imagePullPolicy")
    return wrong


def tokens(manifests: Manifests) -> list[str]:
    """No Pod can speak to the API server, and each has an account of its own to be told apart by."""
    wrong = []
    accounts = {thing["metadata"]["name"]: thing for thing in manifests.of("ServiceAccount")}
    for workload in manifests.workloads:
        if workload.pod.get("automountServiceAccountToken") is not False:
            wrong.append(f"{workload}: has a token")
        account = accounts.get(workload.pod.get("serviceAccountName", "default"))
        if account is None:
            wrong.append(f"{workload}: no account of its own")
        elif account.get("automountServiceAccountToken") is not False:
            wrong.append(f"{workload}: its account has a token")
    return wrong


def service_variables(manifests: Manifests) -> list[str]:
    """No Pod is given the variables of Services: GATEWAY_PORT=tcp://10.0.0.1:8000 would be read as our setting."""
    return [f"{w}: enableServiceLinks" for w in manifests.workloads if w.pod.get("enableServiceLinks") is not False]


def bad_mounts(manifests: Manifests) -> list[str]:
    """Mounts name volumes that exist and are used, and none lies inside another: a read-only one could not hold it."""
    wrong = []
    for workload in manifests.workloads:
        volumes = {volume["name"] for volume in workload.pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in workload.spec.get("volumeClaimTemplates", [])}
        used = set()
        for container in workload.containers:
            mounts = container.get("volumeMounts", [])
            used |= {mount["name"] for mount in mounts}
            paths = sorted(mount["mountPath"].rstrip("/") for mount in mounts)
            pairs = [(a, b) for a in paths for b in paths if b.startswith(a + "/")]
            wrong += [f"{workload}: {inner} lies inside {outer}" for outer, inner in pairs]
            wrong += [f"{workload}: {path} twice" for path in set(paths) if paths.count(path) > 1]
        wrong += [f"{workload}: volume {name}" for name in sorted(volumes ^ used)]
    return wrong


def nowhere_to_write(manifests: Manifests) -> list[str]:
    """Our containers have /tmp, and those that are told of a DATA_DIR have that."""
    wrong = []
    for workload, container, name in manifests.containers():
        if not is_ours(container):
            continue
        volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
        paths = {m["mountPath"] for m in container.get("volumeMounts", []) if "emptyDir" in volumes.get(m["name"], {})}
        needed = {"/tmp", manifests.environment(container).get("DATA_DIR", "/tmp")}  # noqa: S108  # a path of a container
        wrong += [f"{name}: {path}" for path in sorted(needed - paths)]
    return wrong
