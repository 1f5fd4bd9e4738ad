"""The source as the architecture tests see it: files and syntax trees, nothing imported."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("gateway", "auth_service", "chat_service")
PACKAGES = ("protocol", "chassis", *SERVICES, "canary", "launcher", "observability", "deploy")


@dataclass(frozen=True)
class Module:
    """One file of ours."""

    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """Its top-level package."""
        return self.name.partition(".")[0]

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        return self.text.splitlines()[number - 1]


@cache
def modules(*directories: str) -> tuple[Module, ...]:
    """Return every module below `directories`."""
    return tuple(
        _module(file)
        for directory in directories
        for file in sorted((ROOT / directory).rglob("*.py"))
        if file.is_file()
    )


def _module(file: Path) -> Module:
    path = file.relative_to(ROOT)
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    text = file.read_text()
    return Module(name, path.as_posix(), text, ast.parse(text, path.as_posix()))


def imports(module: Module, at_start_only: bool = False) -> list[tuple[str, int]]:
    """Return (dotted name, line) of everything `module` imports; `at_start_only`: what is imported when it is loaded.

    `from a import b` counts as `a.b`: only the file system tells whether b is a module, see `owner`.
    """
    found = []
    for node in _loaded(module.tree) if at_start_only else ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: relative import"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def _loaded(node: ast.AST) -> list[ast.AST]:
    """Return the nodes that run when the module is loaded: outside functions and `if TYPE_CHECKING`."""
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        found += [child, *_loaded(child)]
    return found


def owner(name: str, known: set[str]) -> str | None:
    """Return the module of ours that the imported `name` leads to, or None."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None
