"""Network policies, evaluated: who reaches whom."""

import ipaddress
from dataclasses import dataclass, field

from tests.manifests.objects import NAMESPACE, Manifests, Object, matches

NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class End:
    """One end of a connection: a Pod, or (without a namespace) an address outside of the cluster."""

    name: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    namespace: str = ""
    ports: tuple[tuple[int, str], ...] = ()
    address: str = "10.1.2.3"


@dataclass(frozen=True)
class Flow:
    """A connection from one end to a port of another."""

    source: str
    target: str
    port: int
    protocol: str = "TCP"


class Network:
    """The policies of one overlay.

    Implementations differ on whether an `ipBlock` speaks of Pods too. `blocks_match_pods` chooses: what must be
    possible has to hold without, what must be impossible with it.
    """

    def __init__(self, manifests: Manifests, blocks_match_pods: bool) -> None:
        self._policies = [policy["spec"] for policy in manifests.of("NetworkPolicy")]
        self._blocks_match_pods = blocks_match_pods

    def allows(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Tell whether both the policies of `source` and those of `target` let the connection be."""
        return self._passes("egress", source, target, port, protocol) and self._passes(
            "ingress", target, source, port, protocol
        )

    def _passes(self, direction: str, pod: End, peer: End, port: int, protocol: str) -> bool:
        if pod.namespace != NAMESPACE:
            return True  # not ours to say
        kind = direction.capitalize()
        policies = [p for p in self._policies if kind in p["policyTypes"] and matches(p["podSelector"], pod.labels)]
        if not policies:
            return True
        peers = "to" if direction == "egress" else "from"
        return any(
            self._any_peer(rule.get(peers), peer) and _any_port(rule.get("ports"), port, protocol)
            for policy in policies
            for rule in policy.get(direction, [])
        )

    def _any_peer(self, peers: list[Object] | None, end: End) -> bool:
        return not peers or any(self._is(peer, end) for peer in peers)

    def _is(self, peer: Object, end: End) -> bool:
        if "ipBlock" in peer:
            network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
            assert "except" not in peer["ipBlock"], "not evaluated here"
            return (not end.namespace or self._blocks_match_pods) and ipaddress.ip_address(end.address) in network
        if not end.namespace:
            return False
        namespaces = peer.get("namespaceSelector")
        if namespaces is None:
            return end.namespace == NAMESPACE and matches(peer["podSelector"], end.labels)
        return matches(namespaces, {NAMESPACE_NAME: end.namespace}) and matches(peer.get("podSelector", {}), end.labels)


def _any_port(ports: list[Object] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        rule.get("protocol", "TCP") == protocol
        and ("port" not in rule or rule["port"] <= port <= rule.get("endPort", rule["port"]))
        for rule in ports
    )


def pods(manifests: Manifests) -> dict[str, End]:
    """Return one Pod of each workload, by the name that its labels give."""
    found = {}
    for workload in manifests.workloads:
        ports = [(port["containerPort"], "TCP") for c in workload.containers for port in c.get("ports", [])]
        name = workload.labels["app.kubernetes.io/name"]
        found[name] = End(name, workload.labels, NAMESPACE, tuple(ports))
    return found
