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
