"""Check plain values that were read from files against the types of a dataclass."""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from cvkit.catalog import CROP_MODES, INTERPOLATIONS, Preprocessing

MAX_INPUT_PIXELS = 2**26  # of the input of a network; 8192x8192
MAX_PARAMETERS = 2**30  # of a network that a file describes: 4 GB


def have_types(values: Mapping[str, Any], cls: type) -> bool:
    """Return whether values have the types that the fields of a dataclass declare; lists may stand for tuples.

    Args:
        values: Values by name; names that the dataclass does not have are ignored.
        cls: A dataclass of plain values: numbers, texts, tuples, dicts and None.
    """
    hints = get_type_hints(cls)
    return all(is_of_type(values[field.name], hints[field.name]) for field in fields(cls) if field.name in values)


def is_of_type(value: Any, hint: Any) -> bool:
    """Return whether a value has a type; a number must be finite, and True is not a number."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(is_of_type(value, each) for each in inner)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        parts = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(parts) == len(value) and all(map(is_of_type, value, parts))
    if origin is dict:
        return isinstance(value, dict) and all(is_of_type(each, inner[1]) for each in value.values())
    if hint is float:
        return type(value) in (int, float) and abs(value) < 1e30 and math.isfinite(value)
    return True if hint is Any else value is None if hint is types.NoneType else type(value) is hint


def is_input_size(size: Sequence[Any]) -> bool:
    """Return whether a value is the (height, width) in pixels of images that a network can take."""
    return is_of_type(size, tuple[int, int]) and min(size) > 0 and size[0] * size[1] <= MAX_INPUT_PIXELS


def is_normalisation(mean: Any, std: Any, channels: int) -> bool:
    """Return whether values are the mean and the standard deviation of each channel."""
    both = is_of_type(mean, tuple[float, ...]) and is_of_type(std, tuple[float, ...])
    return both and len(mean) == len(std) == channels and min(std) > 0


def read_preprocessing(steps: Any) -> Preprocessing | None:
    """Return the preprocessing that plain values (``Preprocessing.as_dict``) describe; None if they describe none."""
    if not isinstance(steps, Mapping) or set(steps) | {"crop_mode"} != {part.name for part in fields(Preprocessing)}:
        return None
    valid = (
        have_types(steps, Preprocessing)
        and is_input_size(steps["crop"])
        and is_input_size([steps["resize"]] * 2 if isinstance(steps["resize"], int) else steps["resize"])
        and steps["interpolation"] in INTERPOLATIONS
        and steps.get("crop_mode") in (None, *CROP_MODES)
        and is_normalisation(steps["mean"], steps["std"], 3)
    )
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in steps.items()}
    return Preprocessing(**values) if valid else None
