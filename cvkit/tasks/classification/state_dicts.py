"""Build a classifier from the tensors of a weights file: number of classes, names of tensors, and checks."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cvkit.errors import WeightsError
from cvkit.models.weights import fill, without_prefixes

BuildForClasses = Callable[[int], nn.Module]  # builds a network with a number of classes
# Errors of timm's converters on tensors that they do not expect: they look tensors up, reshape and compare them.
_CONVERTER_ERRORS = (LookupError, RuntimeError, AttributeError, TypeError, ValueError, AssertionError)
_NUMBER = re.compile(r"\d+")
# The published files of torchvision's DenseNets and ViTs have layer names of an earlier torchvision.
_OLD_NAMES = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
    (re.compile(r"(\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(\.mlp)\.linear_2\."), r"\1.3."),
)


def build_if_equal(
    build: BuildForClasses, num_classes: int, state_dict: Mapping[str, Tensor], label: str
) -> nn.Module | None:
    """Build a network and copy the tensors of a file into it, if the file has exactly its names and shapes.

    This is the common case. It needs one network, where ``infer_num_classes`` needs two more.

    Args:
        build: Function that builds the network with a number of classes.
        num_classes: Number of classes.
        state_dict: Tensors of the file, by name.
        label: Name of the file, for messages.

    Returns:
        The network, or None if any name or shape differs.
    """
    with _SkipInit():
        module = build(num_classes)
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    if shapes != {name: value.shape for name, value in state_dict.items()}:
        return None
    fill(module, state_dict, label)
    return module


def infer_num_classes(build: BuildForClasses, state_dict: Mapping[str, Tensor], label: str, default: int) -> int:
    """Return the number of classes that a weights file is for.

    Networks with 7 and with 11 classes are compared: the tensors whose shapes differ are those of the last layer, and
    the dimension that differs is the number of classes.

    Args:
        build: Function that builds the network with a number of classes.
        state_dict: Tensors of the file, by name.
        label: Name of the file, for messages.
        default: Number of classes of the published weights, for a file whose last layer has another name.

    Raises:
        WeightsError: If the file has no last layer of this architecture.
    """
    network, heads = _last_layer(build)
    for tensors in without_prefixes(state_dict):
        for key, shapes in heads.items():
            if key in tensors and tensors[key].dim() == len(shapes[0]):
                return _size_of_classes(*shapes, tuple(tensors[key].shape))
    if not heads or _timm_converter(network) is not None:  # the converter may rename the last layer
        return default
    raise WeightsError(
        f"{label} does not fit: the last layer of the model ({', '.join(sorted(heads)[:2])}) is not in the file, so "
        "the file is not a classifier of this architecture."
    )


def last_layer(build: BuildForClasses) -> tuple[str, ...]:
    """Return the names of the tensors of the last layer of a network, whose shapes depend on the number of classes."""
    return tuple(_last_layer(build)[1])


def _last_layer(build: BuildForClasses) -> tuple[nn.Module, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]]:
    """Return a network, and the shapes of the tensors of its last layer for 7 and for 11 classes."""
    networks = [_build_for_shapes(build, count) for count in (7, 11)]
    seven, eleven = ({key: tuple(value.shape) for key, value in network.state_dict().items()} for network in networks)
    return networks[0], {key: (shape, eleven[key]) for key, shape in seven.items() if shape != eleven[key]}


def _build_for_shapes(build: BuildForClasses, num_classes: int) -> nn.Module:
    """Build a network of which only the shapes are used."""
    try:
        with torch.device("meta"):
            return build(num_classes)
    except RuntimeError:  # RegNet computes its widths with tensors, and older versions of timm their drop rates
        with _SkipInit():
            return build(num_classes)


def _size_of_classes(seven: tuple[int, ...], eleven: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the size of the dimension that differs between the shapes for 7 and for 11 classes."""
    dimension = next(k for k in range(len(seven)) if seven[k] != eleven[k])
    return shape[dimension]


def build_with_weights(
    build: BuildForClasses, num_classes: int, state_dict: Mapping[str, Tensor], label: str
) -> nn.Module:
    """Build a network and copy the tensors of a file into it.

    Files of older versions of torchvision and of timm's original authors are converted to the current names.

    Args:
        build: Function that builds the network with a number of classes.
        num_classes: Number of classes.
        state_dict: Tensors of the file, by name.
        label: Name of the file, for messages.

    Raises:
        WeightsError: If a tensor is missing or has another shape.
    """
    with _SkipInit():
        module = build(num_classes)
    try:
        fill(module, state_dict, label)
    except WeightsError as error:
        convert = _timm_converter(module) or _rename_old
        try:
            fill(module, convert(dict(state_dict), module), label)
        except WeightsError:
            raise
        except _CONVERTER_ERRORS:
            raise error from None
    return module


def _rename_old(state_dict: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under the names of the current torchvision."""
    del module
    for old, new in _OLD_NAMES:
        state_dict = {old.sub(new, name): value for name, value in state_dict.items()}
    return state_dict


def _timm_converter(module: nn.Module) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None:
    """Return timm's function that converts state dicts of other origin for this network, None if there is none."""
    return getattr(sys.modules.get(type(module).__module__), "checkpoint_filter_fn", None)


def reject_extra_layers(module: nn.Module, state_dict: Mapping[str, Tensor], label: str) -> None:
    """Raise WeightsError if a file has more layers of the same kind than the network.

    The file of ResNet-34 has all tensors that ResNet-18 needs, but is another network. Other extra tensors (auxiliary
    classifiers, counters) are allowed.

    Args:
        module: The network.
        state_dict: Tensors of the file, by name.
        label: Name of the file, for messages.
    """
    extra = _extra_layers(module, state_dict)
    if extra:
        with suppress(*_CONVERTER_ERRORS):
            extra = _extra_layers(module, (_timm_converter(module) or _rename_old)(dict(state_dict), module))
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise WeightsError(f"{label} does not fit: it is of a deeper network, which also has {extra[0]}{more}.")


def _extra_layers(module: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Return the names of a file that the network does not have, but has with other numbers ("layer1.2.conv1")."""
    own = module.state_dict().keys()
    kinds = {_NUMBER.sub("#", name) for name in own}
    tensors = max(without_prefixes(state_dict), key=lambda tensors: len(own & tensors.keys()))
    return sorted(name for name in tensors.keys() - own if _NUMBER.sub("#", name) in kinds)


class _SkipInit(TorchFunctionMode):
    """A context in which layers are built without random initialisation, which would take about a second.

    ``uniform_`` and ``normal_`` fill a tensor with one random number. Uninitialised memory would not do: the loop of
    ``trunc_normal_`` (torch 2.15), which draws until all numbers are within bounds, would not end.
    """

    _ONE_NUMBER = ("uniform_", "normal_")
    _SKIPPED = ("erfinv_", "kaiming_", "xavier_", "orthogonal_")

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        name, named = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in self._ONE_NUMBER:
            tensor = args[0] if args else named.pop("tensor")
            with torch.no_grad():
                return tensor.fill_(func(tensor.new_empty(1), *args[1:], **named).item())
        if name.startswith(self._SKIPPED):
            return args[0] if args else named["tensor"]
        return func(*args, **named)
