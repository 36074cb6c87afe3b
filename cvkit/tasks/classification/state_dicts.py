"""From a file's tensors to a classifier: how many classes they are for, under which names, and whether they fit."""

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

Build = Callable[[int], nn.Module]
_NUMBER = re.compile(r"\d+")
# In the published files of torchvision's DenseNets and ViTs some layers have names of an earlier torchvision.
_OLD_NAMES = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
    (re.compile(r"(\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(\.mlp)\.linear_2\."), r"\1.3."),
)


def classes_in(build: Build, given: Mapping[str, Tensor], label: str, usual: int) -> int:
    """Return the number of classes that a file's tensors are for: the size of what depends on it in the network.

    ``build`` makes the network for a number of classes; ``usual`` is that of its published weights, for a file whose
    last layer has another name. Raises WeightsError where the file has no last layer of such a network.
    """
    networks = [_without_numbers(build, count) for count in (7, 11)]
    shapes = [{key: tuple(value.shape) for key, value in network.state_dict().items()} for network in networks]
    heads = [key for key, shape in shapes[0].items() if shape != shapes[1][key]]
    for names in without_prefixes(given):
        for key in heads:
            if key in names and names[key].dim() == len(shapes[0][key]):
                return _grown(shapes[0][key], shapes[1][key], tuple(names[key].shape))
    if not heads or _converter(networks[0]) is not None:  # which may know the last layer by another name
        return usual
    raise WeightsError(
        f"{label} does not fit: the last layer of the model ({', '.join(sorted(heads)[:2])}) is not in it, so it is "
        "no classifier of this architecture."
    )


def _without_numbers(build: Build, num_classes: int) -> nn.Module:
    """Build a network for its shapes alone."""
    try:
        with torch.device("meta"):
            return build(num_classes)
    except RuntimeError:  # RegNet works its widths out by tensors, and older timm its drop rates
        with _NoInit():
            return build(num_classes)


def _grown(seven: tuple[int, ...], eleven: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the number of classes of a head's tensor from the side that differs between 7 and 11 classes."""
    side = next(k for k in range(len(seven)) if seven[k] != eleven[k])
    return shape[side]


def filled(build: Build, classes: int, given: Mapping[str, Tensor], label: str) -> nn.Module:
    """Build a network and copy a file's tensors into it, those of files of older making too.

    Raises WeightsError where a tensor is missing or does not fit.
    """
    with _NoInit():
        module = build(classes)
    try:
        fill(module, given, label)
    except WeightsError as error:
        convert = _converter(module) or _renamed
        try:
            fill(module, convert(dict(given), module), label)
        except WeightsError:
            raise
        except Exception:  # whatever a foreign converter raises on tensors that it does not know
            raise error from None
    return module


def _renamed(given: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under the names that torchvision gives them now."""
    del module
    for old, new in _OLD_NAMES:
        given = {old.sub(new, name): value for name, value in given.items()}
    return given


def _converter(module: nn.Module) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None:
    """Return how timm reads files of other making into this network, where it says."""
    return getattr(sys.modules.get(type(module).__module__), "checkpoint_filter_fn", None)


def refuse_deeper(module: nn.Module, given: Mapping[str, Tensor], label: str) -> None:
    """Refuse a file with further layers of the network's own kind: ResNet-34's has all that ResNet-18 needs.

    Other tensors that are left over (auxiliary classifiers, counters) do no harm.
    """
    deeper = _further(module, given)
    if deeper:
        with suppress(Exception):  # whatever a foreign converter raises
            deeper = _further(module, (_converter(module) or _renamed)(dict(given), module))
    if deeper:
        more = f" and {len(deeper) - 1} more" if len(deeper) > 1 else ""
        raise WeightsError(f"{label} does not fit: it is of a deeper network, which also has {deeper[0]}{more}.")


def _further(module: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
    """Return the names that differ by their numbers alone from those of the network, and are not among them."""
    wanted = module.state_dict().keys()
    kinds = {_NUMBER.sub("#", name) for name in wanted}
    names = max(without_prefixes(given), key=lambda names: len(wanted & names.keys()))
    return sorted(name for name in names.keys() - wanted if _NUMBER.sub("#", name) in kinds)


class _NoInit(TorchFunctionMode):
    """Draw one random number for a new tensor, not all: those cost a second, which the weights then undo.

    Without that one, what lay in the memory would stay, and a loop that draws until all numbers are within bounds
    (``trunc_normal_`` of torch 2.15) would never end.
    """

    _DRAWN = ("uniform_", "normal_")
    _LEFT_OUT = ("erfinv_", "kaiming_", "xavier_", "orthogonal_")

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        name, named = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in self._DRAWN:
            tensor = args[0] if args else named.pop("tensor")
            with torch.no_grad():
                return tensor.fill_(func(tensor.new_empty(1), *args[1:], **named).item())
        if name.startswith(self._LEFT_OUT):
            return args[0] if args else named["tensor"]
        return func(*args, **named)
