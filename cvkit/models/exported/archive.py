"""Check ``torch.export`` archives before they are loaded, because ``torch.export.load`` can run code that they hold.

It unpickles weights, constants and example inputs, loads compiled libraries, evaluates the expressions of dynamic
sizes, executes the guards, imports modules that a description of the inputs names, calls any function of ``torch`` as
an operator, and inserts names into generated code (torch 2.15, ``torch/export/pt2_archive/_package.py`` and
``torch/_export/serde/serialize.py``). Therefore only what cvkit's own files contain is accepted.
"""

import ast
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cvkit.errors import WeightsError
from cvkit.models.weights import check_zip

PROGRAM = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
TENSORS = {"weights": r"weight_\d+", "constants": r"tensor_\d+"}  # names of the members in each folder
_MEMBER = re.compile(
    rf"archive_format|archive_version|byteorder|(\.data/)?version|\.data/serialization_id|\.storage_alignment"
    rf"|models/model\.json|data/sample_inputs/model\.pt|extra/[\w.-]+"
    rf"|data/weights/(model_weights_config\.json|{TENSORS['weights']})"
    rf"|data/constants/(model_constants_config\.json|{TENSORS['constants']})"
)

_NAME = re.compile(r"[\w.]*")  # cannot be a call in generated code
_TEXT = re.compile(r"[\w .,>:+-]*")  # an equation of einsum, a version
_TEXT_KEYS = ("as_string", "as_strings", "torch_version")
_ARGUMENT = re.compile(
    r"as_(none|name|expr|(nested_|optional_)?tensors?|optional_tensors|(int|float|bool|string|sym_int|sym_float|sym_bool)s?"
    r"|(int|float)_lists|complex|scalar_type|memory_format|layout|device)"
)
_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_FILE_OPERATORS = ("from_file", "save")  # operators of aten that open a file
_NUMBER_OPERATOR = re.compile(
    r"_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|lshift|rshift|getitem)"
    r"|math\.(trunc|ceil|floor|sqrt)|torch\.sym_(not|int|float|ite|max|min|sqrt)"
)
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_NO_CONTEXT = (None, "null", "[]")
# Functions of sympy and of torch.utils._sympy in expressions of sizes.
_SIZE_FUNCTION = re.compile(
    r"Symbol|Integer|Rational|Float|Add|Mul|Pow|Min|Max|Mod|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Where|Equality|Unequality"
    r"|(Strict)?(Less|Greater)Than|FloorDiv|CleanDiv|CeilDiv|ModularIndexing|PythonMod|LShift|RShift|PowByNatural"
    r"|Float(Pow|TrueDiv)|IntTrueDiv|(Ceil|Floor|Round|Trunc)ToInt|(Trunc)?ToFloat|Identity"
)
_SIZE_VALUE = re.compile(r"true|false|oo|int_oo")
_SIZE_OF_INPUT = re.compile(r"L\['\w+'\]\.size\(\)\[\d+\]")
_GUARD_FUNCTION = re.compile(r"sym_(max|min|not|float|int|ite)")
_GUARD_VALUE = re.compile(r"size")
_EXPRESSION = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.keyword, ast.Name, ast.Constant),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)


class _Refused(Exception):
    """Something in an archive that cvkit does not write."""


def check_archive(path: Path) -> None:
    """Check that a ``torch.export`` archive holds tensors and a plain graph only, so that it cannot run code.

    Args:
        path: The archive.

    Raises:
        WeightsError: If the archive is damaged, or holds anything that cvkit does not write.
    """
    check_zip(path)
    try:
        _check(path)
    except _Refused as error:
        raise WeightsError(
            f"{path}: refused, because {error}: cvkit does not write this, and it could run code. Export the model "
            "again with `cvkit export`."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: damaged, or not a torch.export archive of a version that is known.") from error


def _check(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [_check_member(member) for member in members]
    # The reader of torch.export.load. Its members are compared with those above, because an archive can be made so that
    # two readers see different members.
    reader = torch._C.PyTorchFileReader(str(path))
    if sorted(names) != sorted(reader.get_all_records()) or len(set(names)) < len(names):
        raise _Refused("its members are ambiguous")
    sizes = {name: _record_size(reader, name) for name in names}
    for folder in TENSORS:
        document = json.loads(reader.get_record(f"data/{folder}/model_{folder}_config.json"))
        for name, entry in document["config"].items():
            _check_tensor(folder, name, entry, sizes)
    _check_sample_inputs(reader.get_record(SAMPLE_INPUTS))
    _check_program(json.loads(reader.get_record(PROGRAM)), "")


def _record_size(reader: torch._C.PyTorchFileReader, name: str) -> int:
    """Return the number of bytes of a member."""
    if hasattr(reader, "get_record_size"):  # torch 2.11 has no such method, 2.15 has it
        return int(reader.get_record_size(name))
    return len(reader.get_record(name))


def _check_member(member: zipfile.ZipInfo) -> str:
    """Return the name of a member without the folder that all members are in."""
    name = member.filename.partition("/")[2]
    if not _MEMBER.fullmatch(name):
        raise _Refused(f"it has the member {member.filename[:80]!r}")
    return name


def _check_tensor(folder: str, name: str, entry: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    if entry["use_pickle"] is not False:
        raise _Refused(f"its tensor {name[:80]!r} is pickled")
    if not _NAME.fullmatch(name) or not re.fullmatch(TENSORS[folder], entry["path_name"]):
        raise _Refused(f"its tensor {name[:80]!r} is in {entry['path_name'][:80]!r}")
    meta = entry["tensor_meta"]
    shape = [each["as_int"] for each in meta["sizes"]]
    if not all(type(side) is int and side >= 0 for side in shape):
        raise _Refused(f"the shape of its tensor {name} is {str(shape)[:80]}")
    if math.prod(shape) > sizes[f"data/{folder}/{entry['path_name']}"]:  # an element has at least one byte
        raise _Refused(f"its tensor {name} is said to be larger than the data")


def _check_sample_inputs(content: bytes) -> None:
    """Check that the example inputs are tensors: if loading them as such fails, torch.export.load unpickles anything.

    Raises:
        _Refused: If they hold other objects.
    """
    if not content:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # of whatever type: then torch.export.load would unpickle any object
        raise _Refused("its example inputs are pickled objects") from error


def _check_program(value: Any, key: str) -> None:
    """Check a part of the program (``models/model.json``) and everything in it.

    Args:
        value: The part: an object, a list, a text or a plain value.
        key: Key of the nearest object that the part is in.

    Raises:
        _Refused: If it holds anything but a graph of known operators with plain names.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "metadata" and _is_plain_text(inner):  # for people: traces, names of modules
                continue
            if not _NAME.fullmatch(name):
                raise _Refused(f"its graph has the name {name[:80]!r}")
            is_unknown = name.startswith("as_") and not _ARGUMENT.fullmatch(name)
            if is_unknown or (name.startswith("custom_obj") and inner):
                raise _Refused(f"its graph has an argument of kind {name[:80]!r}")
            _check_program(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_program(inner, key)
    elif isinstance(value, str):
        _check_text(value, key)


def _is_plain_text(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _check_text(text: str, key: str) -> None:
    if key == "target":
        valid = _is_operator(text)
    elif key == "expr_str":
        valid = _is_expression(text, _SIZE_FUNCTION, _SIZE_VALUE)
    elif key == "guards_code":
        # The only values in a guard are sizes of inputs.
        plain = _SIZE_OF_INPUT.sub("size", text).replace("torch.sym_", "sym_")
        valid = _is_expression(plain, _GUARD_FUNCTION, _GUARD_VALUE)
    elif key in ("in_spec", "out_spec"):
        protocol, spec = json.loads(text)
        valid = protocol == 1 and _is_plain_tree(spec)
    else:
        valid = (_TEXT if key in _TEXT_KEYS else _NAME).fullmatch(text) is not None
    if not valid:
        raise _Refused(f"the {key or 'text'} {text[:80]!r} is in its graph")


def _is_operator(target: str) -> bool:
    """Return whether a node calls an operator on tensors or numbers that opens no file."""
    match = _OPERATOR.fullmatch(target)
    if match is None:
        return _NUMBER_OPERATOR.fullmatch(target) is not None
    name, overload = match.groups()
    operator = getattr(getattr(torch.ops.aten, name), overload)
    return isinstance(operator, torch._ops.OpOverload) and name not in _FILE_OPERATORS


def _is_expression(text: str, function: re.Pattern[str], value: re.Pattern[str]) -> bool:
    """Return whether a text is arithmetic on numbers and values, with calls of these functions only."""
    nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    names = [node.id for node in nodes if isinstance(node, ast.Name) and node not in called]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return (
        all(isinstance(node, _EXPRESSION) for node in nodes)
        and all(isinstance(node, ast.Name) and function.fullmatch(node.id) for node in called)
        and all(value.fullmatch(name) for name in names)
        and all(re.fullmatch(r"[\w.]+", inner) for inner in texts)
    )


def _is_plain_tree(spec: Mapping[str, Any]) -> bool:
    """Return whether the structure of the inputs or outputs consists of tuples, lists and dicts without keys."""
    if spec["type"] not in _CONTAINERS or spec["context"] not in _NO_CONTEXT:
        return False
    return all(_is_plain_tree(child) for child in spec["children_spec"])
