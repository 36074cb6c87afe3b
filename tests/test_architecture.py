"""Test the rules of the layout: layers, sizes, names, dependencies and the imports of ``--help``."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
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
    "temporary": 1,
    "imports": 1,
    "inputs": 2,
    "deadline": 2,
    "progress": 2,
    "intervals": 2,
    "config": 1,
    "catalog": 0,
    "errors": 0,
    "messages": 0,
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
    "onnx",
    "onnxruntime",
    "imageio",
)
# The registry lists the models of all tasks.
COMBINE = {("tasks", "registry")}
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40
MAX_PARAMETERS = 6
# Import names that differ from the name of their distribution.
IMPORT_NAMES = {
    "pillow": "PIL",
    "pot": "ot",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}
# torch imports these two when cvkit exports to ONNX and writes TensorBoard events; cvkit only checks that they exist.
IMPORTED_BY_TORCH = {"onnxscript", "tensorboard"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """Return the dotted name of a module's file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path) for path in FILES}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (dotted name, alias) of every module or name that a file imports, function bodies included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.asname) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point to"
            assert node.module is not None
            yield from ((f"{node.module}.{alias.name}", alias.asname) for alias in node.names)


def imports_of_cvkit(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the imports from cvkit itself, as parts below it, without those of the bare package (its version)."""
    for name, _ in imports(path):
        parts = tuple(name.split("."))
        if parts[0] == "cvkit" and len(parts) > 1 and not parts[1].startswith("__"):
            yield parts[1:]


def functions_of(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, Function)]


def lines_of(function: Function) -> int:
    """Return the number of lines from ``def`` to the last line of the body."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def parameters_of(function: Function) -> list[str]:
    """Return the names of the parameters, without ``self`` and ``cls``."""
    declared = function.args
    named = [argument.arg for argument in (*declared.posonlyargs, *declared.args, *declared.kwonlyargs)]
    starred = [argument.arg for argument in (declared.vararg, declared.kwarg) if argument is not None]
    return [*(named[1:] if named[:1] in (["self"], ["cls"]) else named), *starred]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_every_unit_has_a_layer() -> None:
    units = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES} - {"__init__"}
    assert units == LAYERS.keys()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_to_lower_layers(path: Path) -> None:
    module = name_of(path)
    if module == "cvkit":
        assert not list(imports_of_cvkit(path))
        return
    own = module.split(".")[1]
    wrong = [unit for unit, *_ in imports_of_cvkit(path) if unit != own and LAYERS[unit] >= LAYERS[own]]
    assert not wrong, f"{module} (layer {LAYERS[own]}) imports {wrong}"


@pytest.mark.parametrize("layer", ["tasks", "commands"])
def test_tasks_and_commands_do_not_import_each_other(layer: str) -> None:
    """A task imports no other task, and a command no other command, except the modules that exist to combine them."""
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        own = path.relative_to(PACKAGE / layer).with_suffix("").parts[0]  # a folder, or a module of one file
        if (layer, own) in COMBINE:
            continue
        others = [parts for parts in imports_of_cvkit(path) if parts[0] == layer and parts[1] != own]
        assert not others, f"{name_of(path)} imports {others}"


def test_tasks_are_packages_beside_the_registry() -> None:
    modules = {path.stem for path in (PACKAGE / "tasks").glob("*.py")}
    assert modules == {"__init__", "registry"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_terminal_libraries_live_in_cli_alone(path: Path) -> None:
    if path.parent != PACKAGE / "cli":
        assert not {"typer", "rich", "click"} & {name.split(".")[0] for name, _ in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_console_prints(path: Path) -> None:
    if path != PACKAGE / "cli" / "console.py":
        calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_stay_short_and_take_few_parameters(path: Path) -> None:
    for function in functions_of(path):
        assert lines_of(function) <= MAX_FUNCTION_LINES, f"{function.name} has {lines_of(function)} lines"
        assert len(parameters_of(function)) <= MAX_PARAMETERS, f"{function.name} takes {parameters_of(function)}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_names_stay_in_their_module(path: Path) -> None:
    """No name with a leading underscore is imported from another module, or used as an attribute of one."""
    bound = {}
    for name, alias in imports(path):
        if name.startswith("cvkit."):
            assert not is_private(name.rpartition(".")[2]), f"{name_of(path)} imports {name}"
            bound[alias or name.rpartition(".")[2]] = name
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            assert not is_private(node.attr), f"{name_of(path)} uses {bound[node.value.id]}.{node.attr}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_of_cvkit_are_imported_under_their_own_name(path: Path) -> None:
    renamed = [f"{name} as {alias}" for name, alias in imports(path) if name in MODULES and alias is not None]
    assert not renamed


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_frozen_objects_are_not_changed(path: Path) -> None:
    assert "object.__setattr__" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_error_is_silently_ignored(path: Path) -> None:
    """No ``except`` clause that catches every error has an empty body."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler) and all(isinstance(line, ast.Pass) for line in node.body):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            assert caught not in ("everything", "Exception", "BaseException"), f"line {node.lineno}"


READERS = {"Image.open": ("data/images.py", "data/completeness.py"), "iio.imopen": ("data/tiff.py",)}
OTHER_READERS = (
    "imread",
    "imageio.v2",
    "skimage.io",
    "cv2",
    "decode_image",
    "read_image_file",
    "np.load",
    "numpy.load",
)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_images_are_opened_by_one_reader(path: Path) -> None:
    """Only the image reader opens images, and always as one of the supported formats: others start programs."""
    calls = {ast.unparse(node.func): node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}
    for name, call in calls.items():
        assert not name.endswith(OTHER_READERS), f"line {call.lineno} calls {name}"
        if name in READERS:
            assert path.relative_to(PACKAGE).as_posix() in READERS[name], f"line {call.lineno} calls {name}"
    opened = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    for call in (node for node in opened if ast.unparse(node.func) == "Image.open"):
        assert "formats=tuple(IMAGE_FORMATS)" in ast.unparse(call), f"line {call.lineno} opens any format"


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common")]


def test_help_imports_no_large_library() -> None:
    code = f"import sys, cvkit.cli.main; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def requirements() -> dict[str, set[str]]:
    """Return the import names that pyproject.toml declares, by extra; those that are always installed under ""."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {_import_name(requirement) for requirement in lines} for extra, lines in groups.items()}


def _import_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    name = match.group().lower()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def third_party_imports() -> set[str]:
    names = {name.split(".")[0] for path in FILES for name, _ in imports(path)}
    return names - set(sys.stdlib_module_names) - {"cvkit"}


def test_every_import_is_declared() -> None:
    declared = requirements()
    declared.pop("dev")
    assert third_party_imports() <= set().union(*declared.values())


def test_every_declared_package_is_used() -> None:
    declared = requirements()
    declared.pop("dev")
    assert set().union(*declared.values()) <= third_party_imports() | IMPORTED_BY_TORCH
    for name in IMPORTED_BY_TORCH:
        assert any(f'"{name}"' in path.read_text(encoding="utf-8") for path in FILES), name


def test_extras_hold_only_what_is_not_required() -> None:
    declared = requirements()
    required = declared.pop("")
    for extra, names in declared.items():
        assert not names & required, extra
