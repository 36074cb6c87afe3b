"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition", figure 2)."""

import torch
from torch import Tensor, nn

from cvkit.models.init import init_glorot
from cvkit.tasks.classification.networks.grey import to_channels

IMAGE_SIDE = 32  # of the paper; smaller images are padded to it


class LeNet5(nn.Module):
    """LeNet-5 with the layers of Géron, "Hands-On Machine Learning" (3rd edition, 2022), table 14-1.

    A tanh follows every convolution, average pooling and hidden dense layer. It differs from the network of 1998 in
    three points: each map of C3 sees all maps of S2, the poolings have no weights, and the last layer is dense instead
    of Gaussian RBF units. The weights are Glorot-uniform.

    Args:
        num_classes: Number of classes.
        channels: Channels of the images.
        size: (height, width) of the images in pixels, at least 28 each. Zeros pad a side below 32 to 32. The first
            dense layer depends on the size.
        dropout: Dropout probability before the last layer; 0 in the paper.
    """

    def __init__(self, num_classes: int, channels: int, size: tuple[int, int], dropout: float = 0.0) -> None:
        super().__init__()
        (top, bottom), (left, right) = _padding(size[0]), _padding(size[1])
        rows, columns = (_side_of_c5(side) for side in size)
        self.pad = nn.ZeroPad2d((left, right, top, bottom))
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120 * rows * columns, 84)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(84, num_classes)
        init_glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the (N, num_classes) float32 logits of (N, channels, H, W) normalised images."""
        x = self.pad(to_channels(images, self.c1.in_channels))  # (N, channels, 32, 32), for images of up to 32x32
        x = torch.tanh(self.c1(x))  # (N, 6, 28, 28)
        x = torch.tanh(self.s2(x))  # (N, 6, 14, 14)
        x = torch.tanh(self.c3(x))  # (N, 16, 10, 10)
        x = torch.tanh(self.s4(x))  # (N, 16, 5, 5)
        x = torch.tanh(self.c5(x)).flatten(1)  # (N, 120)
        x = torch.tanh(self.f6(x))  # (N, 84)
        return self.out(self.dropout(x)).float()  # (N, num_classes)


def _padding(side: int) -> tuple[int, int]:
    """Return the number of zeros before and after a side of the image."""
    missing = max(0, IMAGE_SIDE - side)
    return missing // 2, missing - missing // 2


def _side_of_c5(side: int) -> int:
    """Return the height or width of the output of C5."""
    padded = max(side, IMAGE_SIDE)
    return ((padded - 4) // 2 - 4) // 2 - 4
