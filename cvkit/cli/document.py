"""Encode the result of a command as one JSON document."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

INDENTED_LEVELS = 2


def encode_document(document: Any) -> str:
    """Return a result as JSON. NaN and infinities become null, paths become text, and iterators become lists.

    Each value of the document and each item of these values has a line of its own, so 100,000 rows are 100,000 lines.
    A row of an iterator is encoded before the next one is read, so memory holds their text only.

    Args:
        document: A result. Fields of dataclasses that are declared with ``repr=False`` are left out.
    """
    return _encode(document, INDENTED_LEVELS, "")


def _encode(value: Any, levels: int, indent: str) -> str:
    """Return a value as JSON with one line per item of its outermost levels."""
    inner = f"{indent}  "
    named = _named_values(value)
    if levels and named is not None:
        lines = [f"{inner}{json.dumps(str(name))}: {_encode(part, levels - 1, inner)}" for name, part in named.items()]
        opening, closing = "{}"
    elif levels and isinstance(value, (list, tuple, Iterator)):
        lines = [f"{inner}{_encode(part, levels - 1, inner)}" for part in value]
        opening, closing = "[]"
    else:
        return _encode_on_one_line(value)
    return "".join((opening, "\n", ",\n".join(lines), "\n", indent, closing)) if lines else opening + closing


def _encode_on_one_line(value: Any) -> str:
    try:
        return _ENCODER.encode(value)  # in C; rows of plain values need no conversion
    except (TypeError, ValueError):  # NaN, infinity, or a key that is no text
        return _ENCODER.encode(_plain(value))


def _plain(value: Any) -> Any:
    """Convert a value and its parts to values that JSON can hold."""
    named = _named_values(value)
    if named is not None:
        return {str(name): _plain(part) for name, part in named.items()}
    if isinstance(value, (list, tuple, Iterator)):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _named_values(value: Any) -> Mapping[Any, Any] | None:
    """Return a mapping, or the fields of a dataclass; None for other values."""
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.repr}
    return None


def _convert(value: Any) -> Any:
    """Convert a value that the JSON encoder does not know."""
    plain = _plain(value)
    if plain is value:
        raise TypeError(f"{type(value).__name__} cannot be a value of a JSON document")
    return plain


_ENCODER = json.JSONEncoder(allow_nan=False, default=_convert)
