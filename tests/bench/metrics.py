"""Metrics pages, read as Prometheus reads them. Imports nothing of ours."""

from tests.bench.clients import http
from tests.bench.ring import Ring


async def metric(ring: Ring, name: str, part: str = "gateway", **labels: str) -> float:
    """Return the sum of a metric's samples that carry these labels."""
    return total(await metrics_page(ring, part), name, **labels)


def total(page: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples on `page` that carry these labels."""
    return sum(value for sample, found, value in samples(page) if sample == name and labels.items() <= found.items())


async def metrics_page(ring: Ring, part: str = "gateway") -> str:
    """Return the metrics page of one part."""
    answer = await http("GET", f"http://127.0.0.1:{ring.ports[part]}/metrics")
    assert answer.status_code == 200
    return answer.text


def samples(page: str) -> list[tuple[str, dict[str, str], float]]:
    """Return name, labels and value of every sample of a metrics page (text format 0.0.4)."""
    found = []
    for line in page.splitlines():
        if not line or line.startswith("#"):
            continue
        head, _, value = line.rpartition(" ")
        name, _, rest = head.partition("{")
        pairs = (pair.partition("=") for pair in rest.rstrip("}").split('",') if pair)
        found.append((name, {key: text.strip('"') for key, _, text in pairs}, float(value)))
    return found
