"""How expressions are made askable: variables replaced, conditions of alerts turned into figures."""

import pytest

from tests.observability.asked import of_dashboards, of_rules, replaced, unconditional, variables


def test_variables_are_replaced() -> None:
    """Grafana's variables become what Grafana would put in; an unknown one is an error."""
    expr = 'sum(rate(a_total{instance=~"$instance"}[$__rate_interval])) / increase(b[$__range])'
    assert replaced(expr) == 'sum(rate(a_total{instance=~".*"}[15s])) / increase(b[10m])'
    with pytest.raises(AssertionError, match="nobody knows"):
        replaced("a[$window]")


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("a > 5", "a > bool  5"),
        ("a == bool 0", "a == bool 0"),
        ('a{code!="0", path=~">="} <= b', 'a{code!="0", path=~">="} <= bool  b'),
        ("a > 1 unless b < 2", "a > bool  1 and b < bool  2"),
        ('absent(up{job="x"} == 1)', 'count(up{job="x"} == bool  1)'),
        ("absent_over_time(a[5m])", "count_over_time(a[5m])"),
        ("a < 0.5 * (a offset 15m > 200)", "a < bool  0.5 * (a  > bool  200)"),
    ],
)
def test_conditions_become_figures(expr: str, expected: str) -> None:
    """Comparisons answer 0 or 1, whatever stands in quotes and braces stays as it is."""
    assert unconditional(expr) == expected


def test_everything_is_asked() -> None:
    """Dashboards and rules are found: all of them, each expression with where it stands."""
    queries, rules = list(of_dashboards()), list(of_rules())
    assert len({one.source for one in queries}) == 8
    assert len(queries) > 200
    assert {"alerts.yml", "recording.yml", "slo.yml"} <= {one.source for one in rules}
    assert len(rules) > 100
    assert len({source for source, _, _ in variables()}) == 8
