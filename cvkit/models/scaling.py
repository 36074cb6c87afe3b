"""Scale maps to the range 0..1."""

import torch
from torch import Tensor


def min_max(maps: Tensor) -> Tensor:
    """Scale each map linearly, so that its smallest value becomes 0 and its largest value 1.

    The function consists of operations that ONNX files can hold.

    Args:
        maps: (..., h, w) float.

    Returns:
        Maps of the same shape and dtype in 0..1. A constant map becomes all 0. A map with NaN or infinite values
        becomes one with NaN values, so that the caller can refuse it.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    usable = span > 0
    return torch.where(usable, (maps - low) / torch.where(usable, span, 1.0), span)
