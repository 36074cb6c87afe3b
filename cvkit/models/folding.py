"""Fold batch norms into the convolutions before them, which makes inference faster and changes rounding only."""

import copy
import warnings
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cvkit.models.dry_run import tensors_in


def fold_batch_norms(network: nn.Module, shape: tuple[int, int, int, int], keep: Collection[str] = ()) -> nn.Module:
    """Return a network in which each convolution includes the batch norm that alone uses its output.

    In evaluation mode a batch norm is ``x * scale + shift`` per channel (Ioffe and Szegedy 2015, section 3.1), so its
    scale is multiplied into the weights of the convolution, in float64, and its shift becomes the bias.

    Args:
        network: The network; it is not changed. The result shares all other weights with it.
        shape: (N, C, H, W) of an input that it can process, from which the order of its layers is found.
        keep: Names of layers whose outputs must stay as they are.

    Returns:
        The folded network in evaluation mode; the network itself if there is nothing to fold, or if its layers cannot
        be followed.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    pairs = {conv: norm for conv, norm in _pairs(network, shape).items() if conv not in keep}
    if not pairs:
        return network
    folded = _copy(network, {id(tensor): tensor for tensor in _tensors_of(network)}).eval()
    for conv_name, norm_name in pairs.items():
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        _fold(conv, norm)
        parent, _, child = norm_name.rpartition(".")
        setattr(folded.get_submodule(parent), child, _behind(norm))
    return folded


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        shift = -norm.running_mean.double() * scale
        if conv.bias is not None:
            shift = shift + conv.bias.double() * scale
        if norm.bias is not None:
            shift = shift + norm.bias.double()
        weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)


def _is_convolution(module: nn.Module) -> bool:
    """Return whether a module is a plain convolution, possibly with TensorFlow's padding (timm)."""
    return type(module) is nn.Conv2d or (type(module).__name__ == "Conv2dSame" and isinstance(module, nn.Conv2d))


def _is_foldable(norm: nn.Module) -> bool:
    """Return whether a module is a batch norm with stored statistics, possibly followed by an activation (timm)."""
    with_activation = type(norm).__name__ == "BatchNormAct2d" and isinstance(norm, nn.BatchNorm2d)
    return (type(norm) is nn.BatchNorm2d or with_activation) and norm.running_mean is not None


def _behind(norm: nn.BatchNorm2d) -> nn.Module:
    """Return what remains of a batch norm without its normalisation: nothing, or timm's dropout and activation."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    names = ("drop", "act")  # kept, because the activation may be the target layer of an explanation
    return nn.Sequential(OrderedDict((name, norm.get_submodule(name)) for name in names))


def _copy(network: nn.Module, tensors: Mapping[int, Tensor]) -> nn.Module:
    """Copy the structure of a network with other tensors in place of its own, by the ids of its own."""
    copied: nn.Module = copy.deepcopy(network, dict(tensors))
    return copied


def _tensors_of(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _pairs(network: nn.Module, shape: tuple[int, int, int, int]) -> dict[str, str]:
    """Return the names of the convolutions with the batch norm that alone uses their output."""
    on_meta = {}
    for tensor in _tensors_of(network):
        empty = torch.empty_like(tensor, device="meta")
        on_meta[id(tensor)] = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
    blueprint = _copy(network, on_meta).eval()
    trace = _Trace()
    try:
        with torch.no_grad(), warnings.catch_warnings(), trace:
            warnings.simplefilter("ignore")
            blueprint(torch.empty(shape, device="meta"))
    except Exception:  # a network that needs the values of tensors cannot be run without them, and stays as it is
        return {}
    convs = {id(m.weight): name for name, m in blueprint.named_modules() if _is_convolution(m)}
    norms = {id(m.running_mean): name for name, m in blueprint.named_modules() if _is_foldable(m)}
    return {
        convs[weight]: norms[mean]
        for weight, mean, output in trace.pairs
        if weight in convs and mean in norms and trace.uses[output] == trace.runs[weight] == trace.runs[mean] == 1
    }


class _Trace(TorchFunctionMode):
    """Records which batch norm receives the output of which convolution.

    Attributes:
        pairs: Ids of the weight of the convolution, the mean of the batch norm, and the tensor between them.
        uses: Number of operations that received a tensor, by its id.
        runs: Number of operations that used a weight of a convolution or a mean of a batch norm, by its id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[int, int, int]] = []
        self.uses: Counter[int] = Counter()
        self.runs: Counter[int] = Counter()
        self._weights: dict[int, int] = {}  # id of the weight by the id of the output of its convolution
        self._kept: list[Any] = []  # all tensors, so that their ids stay unique

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        inputs = list(tensors_in((args, kwargs)))
        self._kept += [*inputs, result]
        if not _reads_no_values(func):
            self.uses.update(map(id, inputs))
        if func is torch.conv2d:
            self._weights[id(result)] = id(inputs[1])
            self.runs[id(inputs[1])] += 1
        elif func is F.batch_norm:
            self.runs[id(inputs[1])] += 1
            if id(inputs[0]) in self._weights:
                self.pairs.append((self._weights[id(inputs[0])], id(inputs[1]), id(inputs[0])))
        return result


def _reads_no_values(func: Any) -> bool:
    """Return whether an operation reads only the shape or another attribute of a tensor."""
    return getattr(func, "__name__", "") in ("__get__", "size", "dim", "numel", "stride", "is_contiguous")
