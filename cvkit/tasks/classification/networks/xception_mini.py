"""The small Xception of Chollet, "Deep Learning with Python" (2nd edition, 2021), section 9.3.5.

Xception itself is Chollet 2017, arXiv 1610.02357.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.init import init_glorot

STEM = 32  # maps of the first convolution
WIDTHS = (32, 64, 128, 256, 512)  # maps of each block
NORM_EPSILON = 1e-3  # Keras' default


class XceptionMini(nn.Module):
    """A 5x5 convolution, five residual blocks of separable convolutions, global average pooling and a dense layer.

    The rescaling to 0..1, which is the first layer of the source, is part of the preprocessing. The output is one logit
    per class instead of one sigmoid for two classes. The weights are Glorot-uniform (Keras' default). The batch norms
    have Keras' epsilon, but torch's momentum: with Keras' 0.99 the statistics need hundreds of steps to settle.

    Args:
        num_classes: Number of classes.
        channels: Channels of the images.
        dropout: Dropout probability before the dense layer.
    """

    def __init__(self, num_classes: int, channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, STEM, 5, bias=False)
        self.blocks = nn.Sequential(*map(Block, (STEM, *WIDTHS), WIDTHS))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(WIDTHS[-1], num_classes)
        init_glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the (N, num_classes) float32 logits of (N, channels, H, W) images in 0..1."""
        x = self.conv(images)  # (N, 32, 176, 176), for 180x180
        x = self.blocks(x)  # (N, 512, 6, 6)
        x = x.mean((2, 3))  # (N, 512)
        return self.out(self.dropout(x)).float()  # (N, num_classes)


class Block(nn.Module):
    """Twice (batch norm, ReLU, separable convolution), 3x3 max pooling, and a 1x1 convolution around them.

    Max pooling and 1x1 convolution have stride 2 and "same" padding, so that both halve the size, rounded up.

    Args:
        before: Maps of the input.
        after: Maps of the output.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before, eps=NORM_EPSILON)
        self.separable1 = SeparableConv(before, after)
        self.norm2 = nn.BatchNorm2d(after, eps=NORM_EPSILON)
        self.separable2 = SeparableConv(after, after)
        self.shortcut = nn.Conv2d(before, after, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, after, h/2, w/2) for (N, before, h, w)."""
        y = self.separable1(F.relu(self.norm1(x)))  # (N, after, h, w)
        y = self.separable2(F.relu(self.norm2(y)))  # (N, after, h, w)
        return same_max_pool(y) + self.shortcut(x)  # (N, after, h/2, w/2)


class SeparableConv(nn.Sequential):
    """A 3x3 convolution per map and a 1x1 convolution across the maps, without biases, as Keras' SeparableConv2D."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)


def same_max_pool(x: Tensor) -> Tensor:
    """Apply 3x3 max pooling with stride 2 and Keras' "same" padding.

    Keras pads so many rows and columns that the output has ceil(h/2) x ceil(w/2) positions. If their number is odd, it
    puts the additional one at the end: an even side has no padding at its start and one pixel at its end, an odd side
    has one pixel at both ends.

    Args:
        x: (N, C, h, w).

    Returns:
        (N, C, ceil(h/2), ceil(w/2)).
    """
    height, width = x.shape[-2:]
    padded = F.pad(x, (width % 2, 1, height % 2, 1), value=-float("inf"))
    return F.max_pool2d(padded, 3, stride=2)
