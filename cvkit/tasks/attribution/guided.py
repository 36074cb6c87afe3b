"""Guided backpropagation: the gradient of a class score at the pixels, through positive gradients only."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Values above this quantile are clipped, because single bright pixels would leave the rest of the map black. Source:
# Smilkov et al. 2017 (SmoothGrad, arXiv 1706.03825), section 3.1.
CLIP_QUANTILE = 0.99


class _PositiveGradient(torch.autograd.Function):
    """The identity function, whose backward pass sets negative gradients to 0."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        del context
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Tensor:
        del context
        return gradients[0].clamp_min(0)


class GuidedBackprop(TorchFunctionMode):
    """A context in which activation functions pass positive gradients only.

    For ReLU this is guided backpropagation, because the derivative of ReLU already stops the gradient where the input
    is negative. Smooth activation functions (GELU, SiLU) keep their derivative, and negative gradients are set to 0 as
    well. Source: Springenberg et al. 2015, Striving for Simplicity, arXiv 1412.6806.
    """

    _FUNCTIONS = frozenset(
        {F.relu, F.relu_, F.relu6, F.gelu, F.silu, F.hardswish, F.leaky_relu, F.elu, F.mish, F.hardtanh}
        | {torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
    )

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        return _PositiveGradient.apply(result) if func in self._FUNCTIONS and result.requires_grad else result


def pixels_to_map(gradient: Tensor) -> Tensor:
    """Reduce the gradient at the pixels to one value per pixel: the largest magnitude of its channels.

    Args:
        gradient: (N, 3, H, W) float32.

    Returns:
        (N, H, W) float32, at least 0 and clipped at the 99th percentile of each image.
    """
    largest = gradient.abs().amax(1)
    ceiling = largest.flatten(1).quantile(CLIP_QUANTILE, dim=1)[:, None, None]
    return largest.minimum(torch.where(ceiling > 0, ceiling, torch.inf))
