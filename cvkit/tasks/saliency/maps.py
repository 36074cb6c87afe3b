"""Operations on batches of saliency maps."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cvkit.errors import NonFiniteError


def check_map(values: NDArray[np.float32]) -> None:
    """Check a (H, W) map that was divided by its maximum.

    Raises:
        NonFiniteError: If it has a NaN or infinite value.
    """
    if not np.isfinite(values.sum()):  # the sum of values up to 1 does not overflow
        raise NonFiniteError


def gaussian_blur(maps: Tensor, sigma_px: float) -> Tensor:
    """Blur (N, 1, H, W) maps by a Gaussian that is cut at 4 sigma; borders are mirrored without repeating the edge."""
    for dim, side in ((2, maps.shape[2]), (3, maps.shape[3])):
        radius = min(int(4 * sigma_px + 0.5), side - 1)  # mirroring reaches at most to the opposite edge
        if radius == 0:
            continue
        offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma_px).square())
        kernel = (kernel / kernel.sum()).to(maps.dtype)
        pad, shape = ((0, 0, radius, radius), (1, 1, -1, 1)) if dim == 2 else ((radius, radius, 0, 0), (1, 1, 1, -1))
        maps = F.conv2d(F.pad(maps, pad, mode="reflect"), kernel.view(shape))
    return maps
