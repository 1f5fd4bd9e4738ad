"""How dashboards ask: PromQL over the instances that are chosen, in the words of the metric's name.

Where a recording rule has the answer over all instances, dashboards ask for that instead (observability/prometheus).
"""

from observability.dashboards.model import Query

CHOSEN = 'instance=~"$instance"'
INTERVAL = "$__rate_interval"
QUANTILES = (0.5, 0.9, 0.99)


def rate(metric: str, by: str = "", where: str = "", window: str = INTERVAL) -> str:
    """Return increments per second of a counter, summed over what `by` does not keep."""
    return f"{_sum(by)} (rate({_select(metric, where)}[{window}]))"


def grown(metric: str, by: str = "", where: str = "") -> str:
    """Return by how much a counter grew over the time range on show."""
    return f"{_sum(by)} (increase({_select(metric, where)}[$__range]))"


def total(metric: str, by: str = "", where: str = "") -> str:
    """Return the sum of a gauge."""
    return f"{_sum(by)} ({_select(metric, where)})"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """Return the value below which `share` of a histogram's observations lie."""
    le = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', le, where)})"


def quantiles(histogram: str, by: str = "", where: str = "") -> list[Query]:
    """Return median, 90th and 99th percentile, each with its legend."""
    name = f"{{{{{by}}}}} " if by else ""
    return [Query(quantile(share, histogram, by, where), f"{name}p{share * 100:g}") for share in QUANTILES]


def buckets(histogram: str, where: str = "") -> str:
    """Return how many observations fell into each bucket, for a heatmap."""
    return f"sum by (le) (increase({_select(f'{histogram}_bucket', where)}[{INTERVAL}]))"


def each(metric: str, by: str, where: str = "") -> list[Query]:
    """Return increments per second of a counter, one line per value of the label `by`."""
    return [Query(rate(metric, by, where), f"{{{{{by}}}}}")]


def share(part: str, whole: str) -> str:
    """Return `part` of `whole`, 0 while there is nothing at all."""
    return f"({part}) / (({whole}) > 0) or 0 * ({whole})"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"


def _select(metric: str, where: str) -> str:
    return f"{metric}{{{', '.join(filter(None, (CHOSEN, where)))}}}"
