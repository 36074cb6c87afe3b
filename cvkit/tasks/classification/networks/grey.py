"""Convert colour images for networks that take grey ones."""

import torch
from torch import Tensor

from cvkit.data.scaling import LUMA


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Return images with the number of channels that a network takes.

    Args:
        images: (N, 3, H, W) or (N, channels, H, W) normalised by the same mean and standard deviation in all channels.
        channels: 1 or 3.

    Returns:
        (N, channels, H, W). Grey is the weighted sum of red, green and blue of ITU-R 601, which equals the normalised
        grey value, because the weights add up to 1.
    """
    if images.shape[1] == channels:
        return images
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, weights)[:, None]
