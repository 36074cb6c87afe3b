"""Check tensors that were read from a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def check_tensors(noun: str, found: Any, expected: Mapping[str, Tensor]) -> None:
    """Check that tensors have the names, shapes and types of others, and finite values.

    Args:
        noun: What each tensor is, for messages.
        found: The tensors by name, as they were read.
        expected: The tensors that they will replace.

    Raises:
        ValueError: If they differ.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"no {noun}s")
    if found.keys() != expected.keys():
        name = sorted(map(str, found.keys() ^ expected.keys()))[0]
        raise ValueError(f"{noun} {name} is {'missing' if name in expected else 'unknown'}")
    for name, value in expected.items():
        check_tensor(f"{noun} {name}", found[name], value.shape, value.dtype)


def check_tensor(name: str, found: Any, shape: torch.Size, dtype: torch.dtype) -> None:
    """Check one tensor.

    Raises:
        ValueError: If it is no tensor, has another shape or type, or is not finite.
    """
    if not isinstance(found, Tensor) or found.shape != shape or found.dtype != dtype:
        kind = f"{tuple(found.shape)} {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{name} is {kind}, not {tuple(shape)} {dtype}")
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{name} is not finite")
