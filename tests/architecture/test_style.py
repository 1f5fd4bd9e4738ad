"""House rules that a linter does not know."""

import ast
import io
import re
import tokenize

import pytest

from tests.architecture.source import PACKAGES, ROOT, Module, modules

OURS = modules(*PACKAGES)
TESTS = modules("tests")
MOST_LINES = 400
NOT_USED = {"manager", "handler", "helper", "helpers", "util", "utils", "processor"}
SUBJECT = re.compile(r"(room|chat|auth|presence|user)\.|_INBOX|\$(JS|SRV|SYS)\b")
SUBJECT_BUILDERS = ("protocol/subjects.py", "chassis/inbox.py", "chassis/streams.py", "deploy/jetstream.py")
SENDS = ("publish", "request", "request_many", "subscribe", "append")


def comment_on(module: Module, line: int) -> bool:
    """Tell whether a comment stands on that line."""
    tokens = tokenize.generate_tokens(io.StringIO(module.line(line).strip() + "\n").readline)
    try:
        return any(token.type == tokenize.COMMENT for token in tokens)
    except tokenize.TokenError:  # the line opens what a later one closes
        return "#" in module.line(line)


def test_modules_stay_small() -> None:
    """A file that no longer fits into one head is split by nouns."""
    long = [f"{m.path}: {n}" for m in OURS if (n := len(m.text.splitlines())) > MOST_LINES]
    assert long == []


def test_broad_excepts_say_why() -> None:
    """Catching everything is sometimes right; then its reason stands on the line. Bare `except` never is."""
    wrong = []
    for module in OURS + TESTS:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else set()
            broad = caught & {"Exception", "BaseException"} and not comment_on(module, node.lineno)
            if node.type is None or broad:
                wrong.append(f"{module.path}:{node.lineno}")
    assert wrong == []


def test_no_test_is_left_out() -> None:
    """No test is skipped, expected to fail or run alone: it holds or it goes."""
    words = re.compile(r"mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\(|unittest\.skip")
    wrong = [m.path for m in TESTS if m.path != "tests/architecture/test_style.py" and words.search(m.text)]
    script = re.compile(r"\b(it|test|describe)\.(skip|only|todo|skipIf|runIf)\b")
    wrong += [
        str(file.relative_to(ROOT))
        for file in (ROOT / "web" / "tests").rglob("*.ts")
        if script.search(file.read_text())
    ]
    assert wrong == []


def test_tests_say_what_they_show() -> None:
    """Each test begins with a sentence about behaviour."""
    wrong = [
        f"{module.path}:{node.lineno} {node.name}"
        for module in TESTS
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert wrong == []


def test_tests_wait_for_conditions() -> None:
    """A sleep outside a loop that waits for a condition is a guess, unless a comment on its line says why not."""
    wrong = []
    for module in TESTS:
        inside = {
            id(node)
            for loop in ast.walk(module.tree)
            if isinstance(loop, (ast.While, ast.For, ast.AsyncFor))
            for node in ast.walk(loop)
        }
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "sleep"
                and id(node) not in inside
                and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
                and not comment_on(module, node.lineno)
            ):
                wrong.append(f"{module.path}:{node.lineno}")
    assert wrong == []


def test_subjects_are_built_in_one_place() -> None:
    """Every NATS subject comes from protocol/subjects.py, which lets no wildcard or separator of a client through."""
    wrong = []
    for module in OURS:
        if module.path in SUBJECT_BUILDERS:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
                if SUBJECT.match(str(node.values[0].value)):
                    wrong.append(f"{module.path}:{node.lineno}: f-string")
            elif _sends_literally(node):
                wrong.append(f"{module.path}:{node.lineno}: literal")  # type: ignore[attr-defined]
    assert wrong == []


def _sends_literally(node: ast.AST) -> bool:
    """A call such as `self._bus.publish("room.x.log", ...)`."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDS and node.args
    ):
        return False
    receiver = ast.unparse(node.func.value).rpartition(".")[2].strip("_").lower()
    return receiver in ("bus", "stream", "client", "log") and isinstance(node.args[0], (ast.Constant, ast.JoinedStr))


def test_words_that_say_nothing_are_not_names() -> None:
    """One word for one thing: no manager, helper or util, neither as a file nor as a class."""
    wrong = []
    for module in OURS:
        names = [module.name.rpartition(".")[2]]
        names += [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
        for name in names:
            words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")
            if NOT_USED & set(words):
                wrong.append(f"{module.path}: {name}")
    assert wrong == []


def test_public_names_have_docstrings() -> None:
    """Every public module, class and function says in a sentence what it is or does."""
    wrong = []
    for module in OURS:
        if "/migrations/versions/" in module.path:
            continue  # named by their revision
        if not ast.get_docstring(module.tree):
            wrong.append(module.path)
        for node in _public(module.tree):
            if not ast.get_docstring(node):
                wrong.append(f"{module.path}:{node.lineno} {node.name}")
    assert wrong == []


def _public(
    node: ast.Module | ast.ClassDef,
) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    found: list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = []
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith("_"):
            found.append(child)
            if isinstance(child, ast.ClassDef):
                found += _public(child)
    return found


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_nothing_is_left_for_later(word: str) -> None:
    """What is not done is an issue, not a note in the source."""
    wrong = [
        m.path
        for m in OURS + TESTS
        if m.path != "tests/architecture/test_style.py" and re.search(rf"\b{word}\b", m.text)
    ]
    assert wrong == []


def test_no_address_of_a_registry_or_a_machine_is_committed() -> None:
    """Locks and settings work with whatever package index and whatever directory a machine has."""
    index = re.compile(r"--(extra-)?index-url|--find-links|--trusted-host|\"resolved\":|registry\s*=")
    address = re.compile(r"https?://")
    npm = [ROOT / place / name for place in ("web", "tests/system/npm") for name in ("package-lock.json", ".npmrc")]
    for file in [*ROOT.glob("requirements/*"), *npm]:
        text = file.read_text()
        assert not index.search(text), file.name
        assert file.suffix == ".json" or not address.search(text), file.name  # npm notes where authors ask for money
