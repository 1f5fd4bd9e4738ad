"""Metrics pages, read as Prometheus reads them. Imports nothing of ours."""

from tests.bench.clients import eventually, http
from tests.bench.ring import Ring


async def metric(ring: Ring, name: str, part: str = "gateway", **labels: str) -> float:
    """Return the sum of a metric's samples that carry these labels."""
    return total(await metrics_page(ring, part), name, **labels)


def total(page: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples on `page` that carry these labels."""
    return sum(value for sample, found, value in samples(page) if sample == name and labels.items() <= found.items())


async def metrics_page(ring: Ring, part: str = "gateway") -> str:
    """Return the metrics page of one part, with all that happened until now.

    Each process gathers what it counts per message, and tells several times a second; as often it samples its event
    loop. So a page on which each has sampled twice since has everything.
    """
    url = f"http://127.0.0.1:{ring.ports[part]}/metrics"
    name = "parley_event_loop_lag_seconds_count"
    processes = total((await http("GET", url)).text, "parley_processes")
    before = total((await http("GET", url)).text, name)

    async def told() -> str | None:
        answer = await http("GET", url)
        assert answer.status_code == 200
        return answer.text if processes < 2 or total(answer.text, name) >= before + 3 * processes else None

    page: str = await eventually(told, "every process has told what it counted")
    return page


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
