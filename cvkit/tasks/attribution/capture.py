"""The activation of one layer, with a graph that begins there; the network is left as it was found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cvkit.catalog import TargetLayer


class Capture:
    """A forward pass that leaves the target layer's output in ``activation``; its hook is gone when the pass ends.

    The output is cut off from what came before and becomes a leaf that wants gradients, so that a gradient costs the
    layers behind the target only. From the target on the network computes in float32, whatever autocast says: that part
    is small, and gradients of a score do not underflow there.
    """

    def __init__(self, module: nn.Module, target: TargetLayer) -> None:
        self._module, self._target = module, target
        self._part = module.get_submodule(target.name)
        self._full = ExitStack()
        self.activation: Tensor | None = None

    def forward(self, images: Tensor, autocast: Callable[[], AbstractContextManager[object]]) -> Tensor:
        """Return the network's (N, classes) float32 scores, computed under ``autocast`` up to the target layer."""
        handle = self._part.register_forward_hook(self._take)
        try:
            # The target leaves autocast inside of it, so that has to be undone first.
            with autocast(), self._full:
                return self._module(images).float()
        finally:
            handle.remove()

    def _take(self, part: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del part, inputs
        self._full.enter_context(torch.autocast(output.device.type, enabled=False))
        output = output.detach().float()
        self.activation = (output.relu() if self._target.relu else output).requires_grad_(torch.is_grad_enabled())
        copy = self.activation.clone()  # what follows may work in place (ReLU), and must not touch what is kept
        if self._target.relu:
            self._full.enter_context(_Rectified(copy))
        return copy


class _Rectified(TorchFunctionMode):
    """Pass over the ReLU of one tensor that is rectified already: a second one would cut the gradient where it is 0."""

    _FUNCTIONS = frozenset({F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self._tensor = tensor

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        if func in self._FUNCTIONS and args and args[0] is self._tensor:
            return self._tensor
        return func(*args, **(kwargs or {}))


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients of its parameters, and give both back as they were."""
    modes = [(part, part.training) for part in module.modules()]
    wants = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.eval()
        module.requires_grad_(False)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, wanted in wants:
            parameter.requires_grad_(wanted)


def to_grid(values: Tensor, target: TargetLayer) -> Tensor:
    """Return an activation, or its gradient, as (N, C, h, w): channels last and tokens are brought to that form."""
    if target.layout == "nhwc":
        return values.permute(0, 3, 1, 2)
    if target.layout == "tokens":
        height, width = target.grid
        return values[:, target.prefix :].transpose(1, 2).unflatten(2, (height, width))
    return values
