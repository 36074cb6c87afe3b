"""Read weights files safely, and check and match their tensors against the names of a network."""

import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.errors import WeightsError

# Under these names training scripts keep the tensors of a network inside a larger dict.
CONTAINERS = ("state_dict", "model_state_dict", "model", "weights", "module")
# What wrappers put before the name of a tensor.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "body.", "encoder.", "vgg.")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the named tensors of a ``.pth``, ``.pt`` or ``.safetensors`` file, on the CPU.

    Nothing is ever unpickled but tensors and plain values. Raises WeightsError when the file is missing, truncated, of
    another kind, or holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    for key in CONTAINERS:
        inner = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(inner, Mapping):
            content = inner
            break
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not named tensors (a state dict).")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors; a state dict of a network is needed.")
    return tensors


def fill(
    module: nn.Module,
    given: Mapping[str, Tensor],
    label: str,
    *,
    also_named: Callable[[str], str] | None = None,
    canonical: Callable[[str], str] | None = None,
) -> None:
    """Copy ``given`` tensors into ``module``; tensors the module does not have are left out (a classifier).

    ``also_named`` gives another name under which a tensor may come, ``canonical`` the form in which names are compared.
    Raises WeightsError, and changes nothing, when a tensor is missing or has another shape.
    """
    form = canonical or (lambda name: name)
    wanted = module.state_dict()
    found = max(
        ({form(name): tensor for name, tensor in names.items()} for names in without_prefixes(given)),
        key=lambda names: sum(form(name) in names or _other(name, also_named) in names for name in wanted),
    )
    chosen: dict[str, Tensor] = {}
    problems = []
    for name, value in wanted.items():
        tensor = found.get(form(name), found.get(_other(name, also_named)))
        if tensor is None:
            if not name.endswith("num_batches_tracked"):
                problems.append(f"{name} is missing")
        elif tensor.shape != value.shape:
            problems.append(f"{name} is {_shape(tensor)}, {_shape(value)} is needed")
        else:
            chosen[name] = tensor
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{label} does not fit: {'; '.join(problems[:3])}{more} (of {len(wanted)} tensors).")
    # Some networks (MNASNet) ask which version of theirs the tensors are of: by their shapes, of this one.
    versioned = OrderedDict(chosen)
    versioned._metadata = getattr(wanted, "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(versioned, strict=False)


def without_prefixes(given: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors under their names as given, and again with each prefix that wrappers put there taken off."""
    variants = [dict(given)]
    for names in variants:  # grows while it is walked: prefixes can be stacked
        for prefix in PREFIXES:
            shorter = {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}
            if shorter:
                variants.append(shorter)
    return variants


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, before the error that matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a file of tensors: it is of another kind, or holds Python objects, which are never loaded. "
            "Save it again with torch.save(model.state_dict(), ...) or as .safetensors."
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        UnicodeDecodeError,
    ) as error:
        raise WeightsError(f"{path} cannot be read as weights: it is damaged, truncated or of another kind.") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: it is damaged, truncated or of another kind."
        ) from error


def _other(name: str, also_named: Callable[[str], str] | None) -> str:
    return also_named(name) if also_named else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"
