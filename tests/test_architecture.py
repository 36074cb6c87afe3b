"""Test the rules of the layout: imports point to lower layers, and nothing on the path to --help is heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cvkit"
FILES = sorted(PACKAGE.rglob("*.py"))
# A unit is a package or module directly in cvkit. It imports units of lower layers only.
LAYERS = {
    "__main__": 8,
    "cli": 7,
    "commands": 6,
    "tasks": 5,
    "engine": 4,
    "models": 4,
    "data": 3,
    "render": 3,
    "device": 2,
    "processes": 2,
    "files": 2,
    "inputs": 2,
    "progress": 2,
    "intervals": 2,
    "config": 1,
    "catalog": 0,
    "errors": 0,
}
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "skimage",
    "sklearn",
    "matplotlib",
    "PIL",
    "scipy",
    "lightning_fabric",
    "numpy",
    "ot",
)
MOST_LINES = 320


def name_of(path: Path) -> str:
    """The dotted name of a module's file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module or name that a file imports, as a dotted name; those in function bodies too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point to"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> Iterator[tuple[str, ...]]:
    """The imports from cvkit itself, as parts below it; those of the bare package (its version) are left out."""
    for name in imports(path):
        parts = tuple(name.split("."))
        if parts[0] == "cvkit" and len(parts) > 1 and not parts[1].startswith("__"):
            yield parts[1:]


def ids(path: Path) -> str:
    return name_of(path)


def test_every_unit_has_a_layer() -> None:
    units = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES} - {"__init__"}
    assert units == LAYERS.keys()


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_imports_point_to_lower_layers(path: Path) -> None:
    module = name_of(path)
    if module == "cvkit":
        assert not list(ours(path))
        return
    mine = module.split(".")[1]
    wrong = [unit for unit, *_ in ours(path) if unit != mine and LAYERS[unit] >= LAYERS[mine]]
    assert not wrong, f"{module} (layer {LAYERS[mine]}) imports {wrong}"


@pytest.mark.parametrize("layer", ["tasks", "commands"])
def test_neighbours_do_not_import_each_other(layer: str) -> None:
    """A task imports no other task, nor the registry, which imports them all; a command imports no other command."""
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        own = path.relative_to(PACKAGE / layer).with_suffix("").parts[0]  # a folder, or a module of one file
        if (layer, own) == ("tasks", "registry"):
            continue
        others = [parts for parts in ours(path) if parts[0] == layer and parts[1] != own]
        assert not others, f"{name_of(path)} imports {others}"


def test_tasks_are_packages_beside_the_registry() -> None:
    modules = {path.stem for path in (PACKAGE / "tasks").glob("*.py")}
    assert modules == {"__init__", "registry"}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_terminal_libraries_live_in_cli_alone(path: Path) -> None:
    if path.parent != PACKAGE / "cli":
        assert not {"typer", "rich", "click"} & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_one_printer(path: Path) -> None:
    if path != PACKAGE / "cli" / "console.py":
        calls = (
            node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        )
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common")]


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, cvkit.cli.main; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
