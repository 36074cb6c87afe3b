"""Guided backpropagation: the gradient of a class score down to the pixels, through positive paths only."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What is brighter is cut, so that single pixels do not leave the rest black (Smilkov et al. 2017, section 3.1).
PERCENTILE = 0.99


class _Positive(torch.autograd.Function):
    """The identity, whose gradient is cut at zero."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        del context
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Tensor:
        del context
        return gradients[0].clamp_min(0)


class Guided(TorchFunctionMode):
    """While this context is open, gradients pass an activation function where they are positive only.

    For a ReLU that is the rule of Springenberg et al. 2015 (its own derivative already stops what was negative on the
    way forward); the smooth activations of newer networks keep their derivative and get the same cut.
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
        return _Positive.apply(result) if func in self._FUNCTIONS and result.requires_grad else result


def pixels_to_map(gradient: Tensor) -> Tensor:
    """Return the gradient of an image, (N, 3, H, W), as (N, H, W) >= 0: its largest channel, cut at a percentile."""
    largest = gradient.abs().amax(1)
    ceiling = largest.flatten(1).quantile(PERCENTILE, dim=1)[:, None, None]
    return largest.minimum(torch.where(ceiling > 0, ceiling, torch.inf))
