"""Run a network and keep the output of one layer, from which gradients are computed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cvkit.catalog import TargetLayer


class Capture:
    """A forward pass that keeps the output of the target layer.

    The output is detached from the layers before and becomes a leaf that requires gradients, so that a backward pass
    runs through the layers after the target only. Those layers compute in float32 even under autocast: they are few,
    and gradients of a class score do not underflow in float32. The hook is removed at the end of the pass.

    Attributes:
        activation: Output of the target layer, after its ReLU if the target includes one; None if the layer did not
            run.
    """

    def __init__(self, module: nn.Module, target: TargetLayer) -> None:
        self._module, self._target = module, target
        self._layer = module.get_submodule(target.name)
        self._contexts = ExitStack()
        self.activation: Tensor | None = None

    def forward(self, images: Tensor, autocast: Callable[[], AbstractContextManager[object]]) -> Tensor:
        """Run the network.

        Args:
            images: (N, 3, H, W) float32, normalised for the network.
            autocast: Function that returns the context in which the layers up to the target layer compute.

        Returns:
            Logits, (N, C) float32.
        """
        handle = self._layer.register_forward_hook(self._keep)
        try:
            # The contexts that the hook enters are left before that of autocast, which surrounds them.
            with autocast(), self._contexts:
                return self._module(images).float()
        finally:
            handle.remove()

    def _keep(self, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del layer, inputs
        self._contexts.enter_context(torch.autocast(output.device.type, enabled=False))
        output = output.detach().float()
        self.activation = (output.relu() if self._target.relu else output).requires_grad_(torch.is_grad_enabled())
        copy = self.activation.clone()  # the next layer may work in place (ReLU)
        if self._target.relu:
            self._contexts.enter_context(_SkipRelu(copy))
        return copy


class _SkipRelu(TorchFunctionMode):
    """Skip the ReLU of one tensor that is rectified already: a second ReLU would stop the gradient where it is 0."""

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
def frozen_evaluation(module: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode without gradients of its parameters, and restore both at the end."""
    training = [layer for layer in module.modules() if layer.training]
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for layer in training:
            layer.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for layer in training:
            layer.training = True
        for parameter in learning:
            parameter.requires_grad_(True)


def to_grid(values: Tensor, target: TargetLayer) -> Tensor:
    """Return an activation or its gradient as a grid of features.

    Args:
        values: (N, C, h, w), (N, h, w, C) or (N, T, C) for the layouts nchw, nhwc and tokens; T is the number of prefix
            tokens plus h * w.
        target: Layer that the values belong to.

    Returns:
        (N, C, h, w), a view where possible. Prefix tokens (such as the class token) are left out.
    """
    if target.layout == "nhwc":
        return values.permute(0, 3, 1, 2)
    if target.layout == "tokens":
        height, width = target.grid
        return values[:, target.prefix :].transpose(1, 2).unflatten(2, (height, width))
    return values
