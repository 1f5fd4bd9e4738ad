"""Rendered manifests, and what a cluster would make of them: Pods, their containers, and their environment."""

import base64
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
NAMESPACE = "parley"
NAME = "app.kubernetes.io/name"
_REFERENCE = re.compile(r"\$\((\w+)\)")


class Unresolved(Exception):
    """A variable refers to what is not there; the text says which and where."""


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or Job."""

    object: Object

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.object["kind"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.object["metadata"]["name"])

    @property
    def spec(self) -> Object:
        """Its own specification."""
        return dict(self.object["spec"])

    @property
    def pod(self) -> Object:
        """The specification of its Pods, which may be changed in place."""
        pod: Object = self.object["spec"]["template"]["spec"]
        return pod

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its Pods."""
        return dict(self.object["spec"]["template"]["metadata"]["labels"])

    @property
    def containers(self) -> list[Object]:
        """Every container of a Pod, those of the start included."""
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def serves(self) -> bool:
        """Whether it runs until it is told to end."""
        return self.kind != "Job"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Manifests:
    """All objects of one overlay."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def copy(self) -> "Manifests":
        """Return the same again, to be changed."""
        return Manifests(copy.deepcopy(self.objects))

    def of(self, kind: str) -> list[Object]:
        """Return the objects of `kind`."""
        return [thing for thing in self.objects if thing["kind"] == kind]

    def get(self, kind: str, name: str) -> Object:
        """Return one object; a generated name may be given without its hash."""
        found = [thing for thing in self.of(kind) if original(thing["metadata"]["name"]) == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]

    def has(self, kind: str, name: str) -> bool:
        """Tell whether an object of exactly this name is there."""
        return any(thing["metadata"]["name"] == name for thing in self.of(kind))

    @property
    def workloads(self) -> list[Workload]:
        """Everything that makes Pods."""
        return [Workload(o) for o in self.objects if o["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet")]

    def workload(self, name: str) -> Workload:
        """Return the workload whose name is or begins with `name`, which a version may follow."""
        found = [one for one in self.workloads if re.fullmatch(rf"{name}(-\d+-\d+-\d+)?", one.name)]
        assert len(found) == 1, f"{len(found)} of {name}"
        return found[0]

    def containers(self) -> Iterator[tuple[Workload, Object, str]]:
        """Give every container with its workload and a text that names both."""
        for workload in self.workloads:
            for container in workload.containers:
                yield workload, container, f"{workload}: {container['name']}"

    def replicas(self, workload: Workload) -> int:
        """Return how many Pods it has at least."""
        for scaler in self.of("HorizontalPodAutoscaler"):
            target = scaler["spec"]["scaleTargetRef"]
            if (target["kind"], target["name"]) == (workload.kind, workload.name):
                return int(scaler["spec"]["minReplicas"])
        return int(workload.object["spec"].get("replicas", 1))

    def environment(self, container: Object) -> dict[str, str]:
        """Return the environment as the kubelet makes it; raise `Unresolved`, also where $(NAME) stands before NAME."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", []):
            for kind, reference in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if reference in source:
                    values |= self.data(kind, source[reference]["name"])
        for variable in container.get("env", []):
            values[variable["name"]] = self._value(container, variable, values)
        return values

    def data(self, kind: str, name: str) -> dict[str, str]:
        """Return what a ConfigMap or Secret holds; raise `Unresolved` when there is none."""
        for thing in self.of(kind):
            if thing["metadata"]["name"] == name:
                plain = dict(thing.get("data", {}))
                return {k: base64.b64decode(v).decode() for k, v in plain.items()} if kind == "Secret" else plain
        raise Unresolved(f"there is no {kind} {name}")

    def _value(self, container: Object, variable: Object, known: dict[str, str]) -> str:
        source = variable.get("valueFrom", {})
        for kind, reference in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if reference in source:
                data = self.data(kind, source[reference]["name"])
                if source[reference]["key"] not in data:
                    raise Unresolved(f"{kind} {source[reference]['name']} has no {source[reference]['key']}")
                return data[source[reference]["key"]]
        if "fieldRef" in source:
            return f"<{source['fieldRef']['fieldPath']}>"
        text = str(variable.get("value", ""))
        missing = [name for name in _REFERENCE.findall(text) if name not in known]
        if missing:
            raise Unresolved(f"{container['name']}: {variable['name']} uses {missing[0]}, which is not known before it")
        return _REFERENCE.sub(lambda match: known[match[1]], text)


def original(name: str) -> str:
    """Return the name that a generated ConfigMap or Secret has in the sources: without the hash of its content."""
    return re.sub(r"-[2456789bcdfghkmt]{10}$", "", name)


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Tell whether a label selector selects `labels`; an empty one selects all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        value, operator = labels.get(rule["key"]), rule["operator"]
        if not {
            "In": value in rule.get("values", []),
            "NotIn": value not in rule.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[operator]:
            return False
    return True
