"""docs/architecture.md's table of layers, held by reading every import of the source.

Imports go downwards only; packages on one line know nothing of each other; what runs under `python -I -S`
imports the standard library and its few neighbours alone; ctypes lives in corten.linux.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[2] / "src" / "corten"

# Lowest first. A name that is missing here fails the test: a new package has to choose its place.
_LAYERS: list[set[str]] = [
    {"errors", "regex"},
    {"digest", "platforms", "ids", "spans", "units", "filters", "prometheus", "soon"},
    {"reference"},
    {"oci", "types", "wire", "signatures", "http2"},
    {"linux"},
    {"task"},
    {"metadata", "plugins", "supervisor", "oci_runtime"},
    {"content", "snapshots", "volumes", "logs", "network", "runtimes"},
    {"registry"},
    {"images"},
    {"builder"},
    {"buildkit"},
    {"engine"},
    {"api"},
    {"daemon"},
]
_LEVEL = {name: level for level, names in enumerate(_LAYERS) for name in names}

# The client side: HTTP only. What it may import besides itself.
_CLIENT_SIDE = {"client": {"wire"}, "cli": {"client", "wire", "reference", "spans", "units", "filters"}}

# What runs under -I -S, besides the standard library.
_BARE = {
    "task": {"linux", "task"},
    "supervisor": {"wire", "linux", "task", "supervisor"},
    "oci_runtime": {"linux", "task", "oci_runtime"},
}


def _modules() -> list[Path]:
    return sorted(_SOURCE.rglob("*.py"))


def _package(path: Path) -> str:
    """The name below corten that a file belongs to: its package or its module."""
    return path.relative_to(_SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, only for type checkers) of every import in a file, wherever it stands."""
    tree = ast.parse(path.read_text(), path)
    typing_only = {id(inner) for node in ast.walk(tree) if _guards_typing(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        guarded = id(node) in typing_only
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, guarded
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            if node.module == "corten":
                for alias in node.names:
                    yield f"corten.{alias.name}", node.lineno, guarded
            else:
                yield node.module, node.lineno, guarded


def _guards_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _own_imports(path: Path) -> Iterator[tuple[str, int]]:
    """(package below corten, line). Imports for type checkers count: they are knowledge too."""
    for module, line, _ in _imports(path):
        parts = module.split(".")
        if parts[0] == "corten" and len(parts) > 1 and parts[1] != "__version__":
            yield parts[1], line


def test_every_package_has_its_place() -> None:
    known = set(_LEVEL) | set(_CLIENT_SIDE) | {"__init__", "launcher"}
    assert {_package(path) for path in _modules()} - known == set()


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(_SOURCE)))
def test_imports_go_down(path: Path) -> None:
    package = _package(path)
    for target, line in _own_imports(path):
        if target == package:
            continue
        where = f"{path.relative_to(_SOURCE)}:{line}: {package} imports {target}"
        if package in _CLIENT_SIDE:
            assert target in _CLIENT_SIDE[package], f"{where}: the client side speaks HTTP only"
        elif package in _LEVEL:
            assert target in _LEVEL, f"{where}: not a layer below"
            assert _LEVEL[target] < _LEVEL[package], f"{where}: imports go downwards only"


@pytest.mark.parametrize("package", sorted(_BARE))
def test_bare_interpreter_packages_need_nothing_else(package: str) -> None:
    for path in sorted((_SOURCE / package).rglob("*.py")):
        for module, line, guarded in _imports(path):
            if guarded:
                continue
            top, _, rest = module.partition(".")
            where = f"{path.relative_to(_SOURCE)}:{line}: {module}"
            if top == "corten":
                assert rest.split(".")[0] in {"", "__version__", *_BARE[package]}, f"{where}: not a neighbour"
            else:
                assert top in sys.stdlib_module_names, f"{where}: -S hides site-packages"


def test_only_linux_touches_the_kernel_abi() -> None:
    offenders = [
        f"{path.relative_to(_SOURCE)}:{line}"
        for path in _modules()
        if _package(path) != "linux"
        for module, line, _ in _imports(path)
        if module.split(".")[0] == "ctypes"
    ]
    assert offenders == []
