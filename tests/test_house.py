"""The house stands as drawn: which room may import which, and what pure rooms may not touch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "lastmetre"

LANGUAGES = {"gbcs", "duis", "relay", "han"}
PARTIES = {"supplier", "dcc", "home", "agent"}
PORTS = {f"{party}.ports" for party in PARTIES}

ALLOWED: dict[str, set[str]] = {
    "gbcs": set(),
    "duis": {"gbcs"},
    "relay": {"gbcs"},
    "han": {"gbcs"},
    "agent": {"relay", "han", "gbcs"},
    "supplier": LANGUAGES,
    "dcc": LANGUAGES,
    "home": LANGUAGES,
    "links": LANGUAGES | PORTS,
    "sim": LANGUAGES | PARTIES,
    "cli": LANGUAGES | PARTIES | {"links", "sim"},
}

# What a room without sockets, files, clocks, randomness and logs has no use for.
IMPURE = {
    "asyncio", "fastapi", "httpx", "io", "logging", "multiprocessing", "os", "pathlib", "psycopg", "queue", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "starlette", "subprocess",
    "sys", "tempfile", "threading", "time", "uuid", "uvicorn",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "urandom", "token_bytes", "generate_private_key", "open", "print", "input"}

FILES = sorted(SOURCE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """The dotted names a file imports, wherever in it they stand."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_room_is_on_the_plan() -> None:
    """No folder grows beside the plan."""
    rooms = {_room(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms <= ALLOWED.keys()
    assert rooms >= LANGUAGES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_plan(path: Path) -> None:
    """A file imports only from its own room and those the plan allows it."""
    room = _room(path)
    for name in _imports(path):
        if not name.startswith("lastmetre."):
            continue
        target = name.removeprefix("lastmetre.")
        top = target.split(".")[0]
        if room in {"__init__", "__main__"}:
            assert top == "cli", f"{path} imports {name}"
            continue
        if top == room or not (SOURCE / top).exists():
            continue
        allowed = ALLOWED[room]
        ports = {entry for entry in allowed if "." in entry}
        assert top in allowed or any(target == port or target.startswith(port + ".") for port in ports), (
            f"{path.relative_to(SOURCE)} imports {name}; {room} may import {sorted(allowed)}"
        )


@pytest.mark.parametrize(
    "path", [path for path in FILES if _room(path) in LANGUAGES], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_languages_are_pure(path: Path) -> None:
    """The four languages import nothing that touches the world and call nothing that reads a clock or chance."""
    assert not {name.split(".")[0] for name in _imports(path)} & IMPURE
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            assert called not in IMPURE_CALLS, f"{path}:{node.lineno} calls {called}"


def test_every_module_says_what_it_is_for() -> None:
    """Each module opens with a docstring."""
    silent = [str(path.relative_to(SOURCE)) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent
