"""The import rule: services -> chassis -> protocol, no service another, and one home for each library."""

import ast
import sys
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.source import PACKAGES, SERVICES, Module, imports, modules, owner

MAY_IMPORT = {
    "protocol": {"protocol"},
    "chassis": {"chassis", "protocol"},
    "canary": {"canary", "chassis", "protocol"},
    "launcher": {"launcher", "chassis", "protocol"},
    "deploy": {"deploy", "chassis", "protocol"},
    "observability": {"observability", "chassis", "protocol"},
    **{service: {service, "chassis", "protocol"} for service in SERVICES},
}

HOMES = {
    "alembic": ("chassis/database.py", "*/migrations/*.py"),
    "argon2": ("auth_service/passwords.py",),
    "centrifuge": ("canary/connection.py", "canary/receiver.py"),
    "cryptography": ("auth_service/keyring.py", "deploy/certificates.py"),
    "fastapi": (
        "chassis/app.py",
        "chassis/server.py",
        "*/app.py",
        "*/endpoints.py",
        "gateway/authentication.py",
        "gateway/server_api.py",
    ),
    "google": ("protocol/*.py",),
    "gunicorn": ("chassis/server.py",),
    "httpx": (
        "canary/account.py",
        "gateway/keys.py",
        "launcher/readiness.py",
        "launcher/ring.py",
        "observability/nats_exporter.py",
    ),
    "jsonschema": ("deploy/schemas.py",),
    "jwt": ("auth_service/tokens.py", "gateway/tokens.py", "gateway/keys.py"),
    "msgspec": ("*",),
    "nats": ("chassis/bus.py", "chassis/nats_*.py"),
    "opentelemetry": ("chassis/traces.py",),
    "prometheus_client": (
        "*/metrics.py",
        "observability/nats_exporter.py",
    ),  # the latter's metrics are made by each scrape
    "pydantic": ("*/settings.py", "auth_service/bodies.py"),
    "pydantic_settings": ("chassis/settings.py",),
    "referencing": ("deploy/schemas.py",),
    "sqlalchemy": (
        "chassis/database.py",
        "*/models.py",
        "*/migrations/*.py",
        "auth_service/accounts.py",
        "auth_service/bans.py",
        "auth_service/keyring.py",
        "auth_service/outbox.py",
        "auth_service/sessions.py",
        "chat_service/archive.py",
        "chat_service/batches.py",
        "chat_service/queries.py",
    ),
    "starlette": ("chassis/app.py", "*/app.py", "*/endpoints.py", "auth_service/limits.py"),
    "structlog": ("chassis/logs.py", "chassis/app.py", "gateway/command_queue.py"),
    "uvicorn": ("chassis/addresses.py", "chassis/patience.py", "chassis/server.py"),
    "uvicorn_worker": ("chassis/server.py",),
    "websockets": ("gateway/framing.py",),
    "yaml": ("deploy/manifests.py", "deploy/rules.py"),
}
"""Library to the files that may import it. A new library needs a line here, and a reason in its commit."""

PURE = {"msgspec", "google"}
"""What `protocol` may use besides the standard library."""

OURS = modules(*PACKAGES)
KNOWN = {module.name for module in OURS}


def libraries(module: Module) -> set[str]:
    """Return the third-party libraries that `module` imports."""
    tops = {name.partition(".")[0] for name, _ in imports(module)}
    return tops - set(sys.stdlib_module_names) - set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_inward_only(package: str) -> None:
    """Services know the chassis and the protocol, never one another; the protocol knows nobody."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules(package)
        for name, line in imports(module)
        if (top := name.partition(".")[0]) in PACKAGES and top not in MAY_IMPORT[package]
    ]
    assert wrong == []


def test_the_canary_is_a_client() -> None:
    """What the canary imports, however far, reaches neither NATS nor a database; of the protocol it knows names."""
    needs = {m.name: {owner(name, KNOWN) for name, _ in imports(m)} for m in modules("canary", "chassis", "protocol")}
    reached: set[str] = set()
    ahead = {module.name for module in modules("canary")}
    while ahead:
        reached |= ahead
        ahead = {name for one in ahead for name in needs[one] if name is not None} - reached
    assert not reached & {"chassis.bus", "chassis.streams", "chassis.database"}
    own = {name for module in modules("canary") for name in needs[module.name] if name}
    assert {name for name in own if name.startswith("protocol")} <= {"protocol.names"}


def test_every_library_has_one_home() -> None:
    """A library is imported by the files that are its home, so that it can be replaced or upgraded there."""
    wrong = [
        f"{module.path} imports {library}"
        for module in OURS
        for library in sorted(libraries(module))
        if not any(fnmatch(module.path, home) for home in HOMES.get(library, ()))
    ]
    assert wrong == []


def test_no_home_is_empty() -> None:
    """The list of homes names only files that exist and still import the library."""
    empty = [
        f"{library}: {home}"
        for library, homes in HOMES.items()
        for home in homes
        if not any(fnmatch(module.path, home) and library in libraries(module) for module in OURS)
    ]
    assert empty == []


def test_the_protocol_is_pure() -> None:
    """The shared language needs the standard library and its codec only, and nothing that does I/O."""
    io = {"asyncio", "socket", "threading", "subprocess", "os", "logging", "http", "urllib"}
    for module in modules("protocol"):
        assert libraries(module) <= PURE, module.path
        assert not {name.partition(".")[0] for name, _ in imports(module)} & io, module.path


def test_the_environment_is_read_in_one_place() -> None:
    """Settings come from chassis/settings.py; nobody else looks at the environment."""
    wrong = [
        f"{module.path}:{node.lineno}"
        for module in OURS
        if module.path != "chassis/settings.py"
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and "environ" in [a.name for a in node.names])
    ]
    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """What a module needs when it is loaded can be loaded before it."""
    needs = {
        module.name: {
            found
            for name, _ in imports(module, at_start_only=True)
            if (found := owner(name, KNOWN)) not in (None, module.name)
        }
        for module in OURS
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("ring", ["bench", "system", "security", "page", "faults"])
def test_system_tests_stand_outside(ring: str) -> None:
    """Tests of the running whole, and the bench they stand on, import nothing of what they test."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules(f"tests/{ring}")
        for name, line in imports(module)
        if name.partition(".")[0] in PACKAGES
    ]
    assert wrong == []
