"""Read weights files safely, and load their tensors into networks with other tensor names."""

import argparse
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cvkit import files
from cvkit.errors import WeightsError

# Keys under which training scripts store the state dict of a network inside a larger dict.
CONTAINERS = ("state_dict", "model_state_dict", "model", "weights", "module")
# Prefixes that wrappers add to the names of tensors.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "body.", "encoder.", "vgg.")


class UnfittingWeights(WeightsError):
    """Tensors that do not fit a network.

    Attributes:
        fitting: Fraction of the tensors of the network that have one of their name and shape.
    """

    def __init__(self, message: str, fitting: float) -> None:
        super().__init__(message)
        self.fitting = fitting


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The content of a weights file.

    Attributes:
        tensors: The named tensors, on the CPU.
        extras: Other entries of the outer dictionary of a checkpoint (settings of a training run become a dictionary),
            or the metadata of a safetensors file.
    """

    tensors: dict[str, Tensor]
    extras: dict[str, Any]


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the named tensors of a weights file onto the CPU; see ``read_weights``."""
    return read_weights(path).tensors


def read_weights(path: str | Path) -> WeightsFile:
    """Read a weights file.

    Only tensors, plain values and ``argparse.Namespace``, in which training scripts store their settings, are
    unpickled.

    Args:
        path: A ``.pth``, ``.pt`` or ``.safetensors`` file.

    Raises:
        WeightsError: If the file is missing, damaged, of another kind, holds other objects, or a tensor is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    extras: dict[str, Any] = {}
    content: object
    if path.suffix.lower() == ".safetensors":
        content, extras = _read_safetensors(path)
    else:
        content = _read_torch(path)
        extras = _extras(content)
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
    check_tensors(tensors, path)
    return WeightsFile(tensors=tensors, extras=extras)


def _extras(content: object) -> dict[str, Any]:
    """Return the entries of a checkpoint that are no tensors and no state dicts."""
    if not isinstance(content, Mapping):
        return {}
    plain = {
        str(name): vars(value) if isinstance(value, argparse.Namespace) else value for name, value in content.items()
    }
    return {name: value for name, value in plain.items() if not isinstance(value, Tensor) and name not in CONTAINERS}


def check_tensors(tensors: object, path: Path) -> None:
    """Check tensors that were read from a file.

    Args:
        tensors: Tensors by name. Anything else is left to the code that uses it.
        path: The file.

    Raises:
        WeightsError: If a tensor is not finite, or claims to be larger than the file.
    """
    if not isinstance(tensors, Mapping):
        return
    named = {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    available = path.stat().st_size
    for name, tensor in named.items():
        # A view that repeats its data needs no memory until it is used.
        if tensor.layout == torch.strided and tensor.nbytes > available:
            raise WeightsError(
                f"{path}: the tensor {name} is said to be {_shape(tensor)}, which is larger than the file."
            )
    check_finite(named, str(path))


def check_finite(tensors: Mapping[str, Tensor], label: str) -> None:
    """Check that no tensor has a NaN or an infinite value.

    Args:
        tensors: Tensors by name; those of integers are skipped.
        label: Name of their source, for the message.

    Raises:
        WeightsError: If a value is not finite; the message names the first such tensor.
    """
    for name, tensor in tensors.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and not _is_finite(tensor.detach()):
            raise WeightsError(
                f"{label}: the tensor {name} has values that are NaN or infinite, so every result would be wrong: use "
                "another checkpoint, or train again."
            )


def _is_finite(tensor: Tensor) -> bool:
    # A sum needs no memory, unlike isfinite. The sum of large finite values may overflow.
    if tensor.element_size() > 1 and bool(torch.isfinite(tensor.sum())):
        return True
    values = tensor.float() if tensor.element_size() == 1 else tensor  # float8 has few operations
    return bool(torch.isfinite(values).all())


def has_nan(values: NDArray[Any]) -> bool:
    """Return whether an array of floats has a NaN; infinite values, of which masks of attention consist, are none."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = values.sum(dtype=np.float64)  # needs no memory, unlike isnan
    return bool(np.isnan(total)) and bool(np.isnan(values).any())


def fill(
    module: nn.Module,
    state_dict: Mapping[str, Tensor],
    label: str,
    *,
    also_named: Callable[[str], str] | None = None,
    canonical: Callable[[str], str] | None = None,
) -> None:
    """Copy tensors into a module; tensors that the module does not have, such as those of a classifier, are ignored.

    Args:
        module: Module to fill in place.
        state_dict: Tensors by name.
        label: Name of their source, for the message.
        also_named: Returns another name under which a tensor of the module may be stored.
        canonical: Returns the form of a name in which names are compared.

    Raises:
        UnfittingWeights: If a tensor is missing or has another shape; the module is then unchanged.
    """
    form = canonical or (lambda name: name)
    expected = module.state_dict()
    candidates = max(
        ({form(name): tensor for name, tensor in names.items()} for names in without_prefixes(state_dict)),
        key=lambda names: sum(form(name) in names or _other(name, also_named) in names for name in expected),
    )
    matches = _match(expected, lambda name: candidates.get(form(name), candidates.get(_other(name, also_named))), label)
    # Some networks (MNASNet) check the version of the state dict; the shapes show that it is that of this network.
    versioned = OrderedDict(matches)
    versioned._metadata = getattr(expected, "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(versioned, strict=False)


def _match(expected: Mapping[str, Tensor], find: Callable[[str], Tensor | None], label: str) -> dict[str, Tensor]:
    """Return the tensor of each expected name; raise UnfittingWeights if any is missing or has another shape."""
    matches: dict[str, Tensor] = {}
    problems = []
    for name, value in expected.items():
        tensor = find(name)
        if tensor is None:
            if not name.endswith("num_batches_tracked"):
                problems.append(f"{name} is missing")
        elif tensor.shape != value.shape:
            problems.append(f"{name} is {_shape(tensor)}, {_shape(value)} is needed")
        else:
            matches[name] = tensor
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        message = f"{label} does not fit: {'; '.join(problems[:3])}{more} (of {len(expected)} tensors)."
        raise UnfittingWeights(message, 1 - len(problems) / len(expected))
    return matches


def check_zip(path: Path) -> None:
    """Check the checksums of a file that ``torch.save`` wrote, which ``torch.load`` does not compare.

    Raises:
        WeightsError: If a member is compressed, or does not match its checksum.
    """
    check_uncompressed(path)
    damaged = files.damaged_member(path)
    if damaged is not None:
        raise WeightsError(f"{path} is damaged ({damaged} does not match its checksum): copy or download it again.")


def check_uncompressed(path: Path) -> None:
    """Check that no member of a file that ``torch.save`` wrote is compressed: a few bytes could become terabytes.

    Raises:
        WeightsError: If a member is compressed.
    """
    compressed = files.compressed_member(path)
    if compressed is not None:
        raise WeightsError(f"{path}: its member {compressed} is compressed, so torch.save did not write this file.")


def without_prefixes(state_dict: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors under their own names, and then without each of the prefixes that wrappers add."""
    variants = [dict(state_dict)]
    for names in variants:  # the list grows during the loop, because prefixes can be nested
        for prefix in PREFIXES:
            stripped = {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}
            if stripped:
                variants.append(stripped)
    return variants


def _read_torch(path: Path) -> object:
    check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about pickle protocols that precede an error
            with torch.serialization.safe_globals([argparse.Namespace]):
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a file of tensors: it has another format, or holds Python objects, which are never loaded. "
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
        raise WeightsError(f"{path} cannot be read as weights: it is damaged or in another format.") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a file."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata()
        return load_file(path), dict(metadata or {})
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: it is damaged or in another format.") from error


def _other(name: str, also_named: Callable[[str], str] | None) -> str:
    return also_named(name) if also_named else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"
