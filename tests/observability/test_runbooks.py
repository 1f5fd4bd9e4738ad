"""Runbooks: one page for each alert, of one form, with queries that Prometheus understands."""

import re
from pathlib import Path

import pytest
import yaml

from docs import tables
from tests.observability.rules import ROOT, RUNBOOKS, alerts, known_names, names_in, run

PAGES = sorted(RUNBOOKS.glob("*.md"))
PARTS = ["What users notice", "Look", "Likely causes, in order", "Do", "Over when"]
_QUERIES = re.compile(r"```promql\n(.*?)```", re.DOTALL)
_CODE = re.compile(r"`(parley[_:][\w:]+|gnatsd_\w+|jetstream_\w+)[`{]")


def queries(page: Path) -> list[str]:
    """Return the queries of a page, one a line."""
    return [line for block in _QUERIES.findall(page.read_text()) for line in block.splitlines() if line.strip()]


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    """No alert without help, no help for what never fires."""
    assert [page.stem for page in PAGES] == sorted(alerts())


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_has_its_parts(page: Path) -> None:
    """The name, how urgent it is and what it says, as in the rule; then the five parts, none of them empty."""
    text = page.read_text()
    alert = alerts()[page.stem]
    title, urgency = text.splitlines()[0], text.splitlines()[2]
    assert title == f"# {page.stem}"
    summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", alert.annotations["summary"])
    assert urgency == f"**{alert.labels['severity']}** · {summary}."
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    assert all(len(part.strip()) > 20 for part in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:])


def test_pages_lead_to_pages_that_are_there() -> None:
    """Links between runbooks work, and alerts that are named exist."""
    for page in PAGES:
        text = page.read_text()
        linked = re.findall(r"\]\(([^)#]+)\)", text)
        assert [link for link in linked if not (RUNBOOKS / link).is_file()] == [], page.name
        named = set(re.findall(r"\bParley[A-Z]\w+", text))
        assert sorted(named - set(alerts())) == [], page.name


def test_pages_name_only_metrics_that_are_there() -> None:
    """What somebody copies from a page at night has to give an answer."""
    for page in PAGES:
        asked = {name for query in queries(page) for name in names_in(query.partition("#")[0])}
        named = set(_CODE.findall(page.read_text()))
        assert sorted((asked | named) - known_names()) == [], page.name


def test_queries_are_understood(tmp_path: Path) -> None:
    """Each query of each page is PromQL."""
    rules = [{"record": f"q{number}", "expr": query} for page in PAGES for number, query in enumerate(queries(page))]
    assert len(rules) > 150
    groups = [{"name": f"g{number}", "rules": [rule]} for number, rule in enumerate(rules)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    run("promtool", "check", "rules", str(file))


def test_services_in_commands_are_those_of_compose() -> None:
    """`docker compose` is asked for services that docker-compose.yml has."""
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
    verbs, options = r"(?:exec|logs|restart|run --rm|up --detach|ps)", r"(?: --?[a-z-]+(?: \d+\w?)?)*"
    called = re.compile(rf"docker compose {verbs}({options})((?: [a-z][a-z0-9-]*)*)")
    for page in PAGES:
        for _, names in called.findall(page.read_text()):
            first = names.split()[:1]
            assert set(first) <= services | {"python"}, f"{page.name}: {first}"


def test_operators_find_every_alert() -> None:
    """docs/operations.md has the table of alerts, as `make docs` would write it, and its links lead to pages."""
    table = tables.TABLES["alerts"]()
    assert f"<!-- table: alerts -->\n{table}<!-- end -->" in (tables.DOCS / "operations.md").read_text()
    assert [name for name in alerts() if f"[`{name}`](../observability/runbooks/{name}.md)" not in table] == []
