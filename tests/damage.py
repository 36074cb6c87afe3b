"""Change single values of nested documents, as a damaged or edited file has them."""

import copy
from collections.abc import Iterator
from typing import Any

import torch


def damaged(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield (keys, other value) for each value in nested dictionaries and lists; the value ``...`` removes the key."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            if path != ("optimizer", "state"):  # a parameter that got no gradient has no averages
                yield (*path, key), ...
            yield from damaged(part, (*path, key))
    if isinstance(value, torch.Tensor):
        yield path, value.new_zeros((*value.shape, 2))
        yield path, value.double() if value.dtype == torch.float32 else value.float()
        yield path, torch.full_like(value, torch.nan) if value.is_floating_point() else value
        yield path, value.tolist()
    elif path:
        yield path, 10**30
        yield path, -1
        yield path, "text" if not isinstance(value, str) else None
        yield path, {"a": [1]}
        yield path, [None]


def changed(content: dict[str, Any], keys: tuple[Any, ...], value: Any) -> dict[str, Any]:
    content = copy.deepcopy(content)
    inner: Any = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return content
