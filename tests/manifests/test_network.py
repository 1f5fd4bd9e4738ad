"""Who reaches whom: a complete table of what must be possible. All else must not be, in both directions."""

import pytest

from tests.manifests.flows import End, Flow, Network, pods
from tests.manifests.objects import NAME, NAMESPACE, Manifests

OTHERS = {
    "prometheus": End("prometheus", {NAME: "prometheus"}, "monitoring", ((9090, "TCP"),)),
    "ingress": End("ingress", {NAME: "some-controller"}, "ingress", ((8443, "TCP"),)),
    "dns": End("dns", {"k8s-app": "kube-dns"}, "kube-system", ((53, "UDP"), (53, "TCP"), (9153, "TCP"))),
    "api": End("api", {"component": "kube-apiserver"}, "kube-system", ((6443, "TCP"),)),
    "stranger": End("stranger", {NAME: "stranger"}, "elsewhere", ((8080, "TCP"),)),
    # Somebody's debugging Pod in our namespace, whose labels no policy knows.
    "unknown": End("unknown", {}, NAMESPACE, ((8080, "TCP"),)),
    "outside": End("outside", address="203.0.113.7", ports=((443, "TCP"), (80, "TCP"), (4222, "TCP"), (5432, "TCP"))),
    "metadata": End("metadata", address="169.254.169.254", ports=((80, "TCP"),)),
}
"""Who is there besides our own Pods."""

RING = {
    Flow("gateway", "nats", 4222),
    Flow("auth", "nats", 4222),
    Flow("chat", "nats", 4222),
    Flow("nats", "nats", 6222),
    Flow("nats-exporter", "nats", 8222),
    Flow("gateway", "auth", 8001),
    *(Flow(who, "postgres", 5432) for who in ("auth", "chat", "auth-migrate", "chat-migrate")),
    Flow("prometheus", "gateway", 9000),
    Flow("prometheus", "auth", 9001),
    Flow("prometheus", "chat", 8002),
    Flow("prometheus", "canary", 8003),
    Flow("prometheus", "nats-exporter", 7777),
}
"""What the ring needs to turn, and to be watched."""

FRONT = {Flow("front", "gateway", 8000), Flow("front", "auth", 8001), Flow("canary", "front", 8080)}
ADDRESS = {Flow("canary", "outside", 443)} | {
    Flow("canary", name, OTHERS[name].ports[0][0]) for name in OTHERS if name in ("ingress", "stranger", "prometheus")
}
"""In production the canary goes wherever the public address is: outside, or in the namespace of some controller."""


def public(ours: dict[str, End]) -> set[Flow]:
    """Return that the public ports are open to all who are no Pods of ours; none of ours gets out to them."""
    ends = {"gateway": 8000, "auth": 8001} | ({"front": 8080} if "front" in ours else {})
    return {
        Flow(name, to, port)
        for name, other in OTHERS.items()
        if other.namespace != NAMESPACE
        for to, port in ends.items()
    }


def names(everybody: dict[str, End]) -> set[Flow]:
    """Return that each of our Pods may ask for names."""
    ours = [name for name, end in everybody.items() if end.namespace == NAMESPACE]
    return {Flow(name, "dns", 53, protocol) for name in ours for protocol in ("TCP", "UDP")}


def possible(manifests: Manifests, blocks_match_pods: bool) -> set[Flow]:
    """Return every connection that the policies allow, of all that could be tried."""
    network = Network(manifests, blocks_match_pods)
    everybody = pods(manifests) | OTHERS
    return {
        Flow(source.name, target.name, port, protocol)
        for source in everybody.values()
        for target in everybody.values()
        for port, protocol in target.ports
        if NAMESPACE in (source.namespace, target.namespace)
        and (source.name != target.name or source.name == "nats")
        and network.allows(source, target, port, protocol)
    }


def expected(manifests: Manifests) -> set[Flow]:
    """Return every connection that must be possible."""
    ours = pods(manifests)
    return RING | public(ours) | names(ours | OTHERS) | (FRONT if "front" in ours else ADDRESS)


@pytest.mark.parametrize("blocks_match_pods", [False, True])
def test_exactly_what_is_needed_is_possible(overlay: Manifests, blocks_match_pods: bool) -> None:
    """The ring turns, names are found, figures are read, the public ports are public; nothing else connects."""
    found, wanted = possible(overlay, blocks_match_pods), expected(overlay)
    extra = found - wanted
    assert wanted - found == set()
    assert extra == set()


@pytest.mark.parametrize(
    "flow",
    [
        Flow("gateway", "postgres", 5432),  # it asks the chat service, and holds no secret of the database
        Flow("canary", "nats", 4222),  # a client as any other
        Flow("canary", "gateway", 8000),  # through the public address, not past it
        Flow("auth", "gateway", 8000),
        Flow("chat", "auth", 8001),
        Flow("gateway", "chat", 8002),
        Flow("nats", "postgres", 5432),
        Flow("unknown", "nats", 4222),
        Flow("stranger", "gateway", 9000),
        Flow("ingress", "auth", 9001),
        Flow("stranger", "nats", 8222),
        Flow("prometheus", "postgres", 5432),
        Flow("gateway", "outside", 443),
        Flow("postgres", "outside", 443),
        Flow("gateway", "metadata", 80),
        Flow("gateway", "api", 6443),
    ],
    ids=str,
)
def test_what_would_hurt_is_not_possible(overlay: Manifests, flow: Flow) -> None:
    """Spelled out, whatever the table above says."""
    everybody = pods(overlay) | OTHERS
    network = Network(overlay, blocks_match_pods=True)
    assert not network.allows(everybody[flow.source], everybody[flow.target], flow.port, flow.protocol)


def test_everything_is_denied_first(base: Manifests) -> None:
    """A Pod that no policy of its own speaks of can neither call nor be called."""
    spec = base.get("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
