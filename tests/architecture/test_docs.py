"""What operators and clients see is written down: every setting, every metric, every code."""

import ast
import importlib
import re
from functools import cache

import pytest

from chassis.settings import Settings
from protocol.codes import DISCONNECTS, ERRORS, UNSUBSCRIBES
from tests.architecture.source import PACKAGES, ROOT, SERVICES, modules


@cache
def page(name: str) -> str:
    """Return the text of a page below docs/."""
    file = ROOT / "docs" / name
    assert file.exists(), f"docs/{name} is missing"
    return file.read_text()


def settings_of(package: str) -> set[str]:
    """Return the names of the environment variables that `package` reads."""
    module = importlib.import_module(f"{package}.settings")
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
    ]
    assert kinds, f"{package} has no settings"
    return {name.upper() for kind in kinds for name in kind.model_fields}


def metrics() -> list[tuple[str, str, str]]:
    """Return (name, kind, sentence) of every metric that is declared."""
    found = []
    for module in modules(*PACKAGES):
        if module.path.endswith("/metrics.py"):
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "Counter",
                    "Gauge",
                    "Histogram",
                    "Summary",
                ):
                    name, sentence = (ast.literal_eval(argument) for argument in node.args[:2])
                    found.append((name, ast.unparse(node.func), sentence))
    assert found
    return found


def has(text: str, word: str) -> bool:
    """Tell whether `word` stands in `text`, not merely as a part of a longer one."""
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None


@pytest.mark.parametrize("package", ["chassis", *SERVICES, "canary", "launcher", "observability"])
def test_every_setting_is_documented(package: str) -> None:
    """docs/operations.md has each environment variable that a service reads."""
    assert sorted(name for name in settings_of(package) if not has(page("operations.md"), name)) == []


@pytest.mark.parametrize("package", ["chassis", *SERVICES, "canary", "launcher", "observability"])
def test_every_setting_has_a_meaning(package: str) -> None:
    """Each setting says in its declaration what it is for."""
    module = importlib.import_module(f"{package}.settings")
    wrong = [
        name
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings)
        for name, field in value.model_fields.items()
        if not field.description
    ]
    assert wrong == []


def test_every_metric_is_documented() -> None:
    """docs/operations.md has each metric by the name that Prometheus shows (counters end in _total)."""
    shown = [
        name + "_total" if kind == "Counter" and not name.endswith("_total") else name for name, kind, _ in metrics()
    ]
    assert sorted(name for name in shown if not has(page("operations.md"), name)) == []


def test_every_metric_says_what_a_rise_means() -> None:
    """Each metric's own help text is a sentence, and its name begins with ours."""
    assert [name for name, _, sentence in metrics() if len(sentence) < 20 or not name.startswith("parley_")] == []


@pytest.mark.parametrize("codes", [ERRORS, DISCONNECTS, UNSUBSCRIBES], ids=["errors", "disconnects", "unsubscribes"])
def test_every_code_is_documented(codes: dict[int, object]) -> None:
    """docs/protocol.md has each error, disconnect and unsubscribe code with its text."""
    text = page("protocol.md")
    wrong = [
        number
        for number, code in codes.items()
        if not any(
            has(line, str(number)) and str(getattr(code, "reason", getattr(code, "message", ""))) in line
            for line in text.splitlines()
        )
    ]
    assert wrong == []


def test_every_decision_is_numbered_once() -> None:
    """Decisions are docs/decisions/NNNN-title.md, without gaps or doubles."""
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert files
    assert [file.name[:5] for file in files] == [f"{number:04d}-" for number in range(1, len(files) + 1)]


LOG_LEVELS = ("debug", "info", "warning", "error", "exception")
NOT_SHOWN = {"exc_info"}
"""Makes `exception` of itself."""


def log_fields() -> set[str]:
    """Return the names of all fields that our log calls write."""
    found: set[str] = set()
    for module in modules(*PACKAGES):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                receiver = ast.unparse(node.func.value)
                logs = node.func.attr in LOG_LEVELS and (receiver == "log" or receiver.startswith("logs.get("))
                if logs or node.func.attr in ("bind_contextvars", "bound_contextvars"):
                    found |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return found - NOT_SHOWN


def test_every_log_field_is_documented() -> None:
    """The table of log fields in docs/operations.md has every field that a log call writes."""
    section = page("operations.md").partition("## Logs\n")[2].partition("\n## ")[0]
    assert log_fields() > {"client", "reason"}
    assert sorted(name for name in log_fields() if f"`{name}`" not in section) == []


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as they are made of their text; the second of a name ends in -1."""
    found: set[str] = set()
    for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")
        same = sum(one == name or re.fullmatch(rf"{re.escape(name)}-\d+", one) is not None for one in found)
        found.add(f"{name}-{same}" if same else name)
    return found


def test_links_lead_somewhere() -> None:
    """Each link from one page to another, or to a heading, finds it."""
    wrong = []
    for file in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "observability" / "runbooks").glob("*.md"),
    ]:
        for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", file.read_text()):
            path, _, anchor = target.partition("#")
            to = (file.parent / path).resolve() if path else file
            if not to.exists() or (anchor and to.suffix == ".md" and anchor not in _anchors(to.read_text())):
                wrong.append(f"{file.relative_to(ROOT)}: {target}")
    assert wrong == []
