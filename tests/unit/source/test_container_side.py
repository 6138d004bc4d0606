"""What is packed into the image is all that the container imports, and nothing that only the laptop needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from headway.source import environment


@pytest.fixture
def packed() -> dict[str, str]:
    """Module name -> source of everything below `headway` that is packed."""
    modules = {}
    for name, data in environment._runtime().items():
        if name.startswith("headway/") and name.endswith(".py"):
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            modules[module] = data.decode()
    return modules


def imported(source: str) -> Iterator[tuple[str, list[str]]]:
    """Each import of ours, wherever it stands but under TYPE_CHECKING: (module, names)."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headway"):
            yield node.module, [alias.name for alias in node.names]
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names if alias.name.startswith("headway"))


def test_every_import_of_a_packed_module_is_packed_too(packed: dict[str, str]) -> None:
    missing = {
        f"{module} imports {target}"
        for module, source in packed.items()
        for target, names in imported(source)
        if target not in packed
        or (source_of(packed, target) == "" and any(f"{target}.{name}" not in packed for name in names))
    }
    assert missing == set()


def source_of(packed: dict[str, str], module: str) -> str:
    """A package's own code, without its docstring: where it is empty, names from it are modules."""
    tree = ast.parse(packed[module])
    return ast.unparse(ast.Module(tree.body[1:] if ast.get_docstring(tree) else tree.body, []))


@pytest.mark.parametrize(
    "module", ["headway.cloud.vertex", "headway.cloud.tuning", "headway.cloud.build", "headway.data.pins"]
)
def test_what_only_the_laptop_needs_is_not_packed(packed: dict[str, str], module: str) -> None:
    assert module not in packed


def test_no_room_of_the_laptop_is_packed(packed: dict[str, str]) -> None:
    rooms = {module.split(".")[1] for module in packed if "." in module}
    assert rooms.isdisjoint({"jobs", "source", "config"})
