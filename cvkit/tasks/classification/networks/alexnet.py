"""AlexNet of the ImageNet challenge of 2012, with local response normalisation (Krizhevsky et al. 2012)."""

import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.init import init_relu

LRN_DEPTH = 5  # r: number of neighbouring maps in the sum, the map itself included
LRN_ALPHA = 1e-4  # of each summed square
LRN_BETA = 0.75
LRN_K = 2.0


class AlexNet2012(nn.Module):
    """AlexNet layer by layer as in Géron, "Hands-On Machine Learning" (3rd edition, 2022), table 14-2.

    It differs from the network of 2012 in two points. C3, C6 and C7 see all maps of the layer before, because one GPU
    holds the whole network. The weights are He-normal with zero biases: with the paper's (standard deviation 0.01,
    some biases 1) the loss on 32 photographs does not fall in 60 steps of Adam or SGD, with these it falls below 0.1
    in 30 steps of Adam. torchvision's ``alexnet`` is the network of 2014 (arXiv 1404.5997): 64 maps in C1, padding
    there, and no response normalisation.

    Args:
        num_classes: Number of classes.
        channels: Channels of the images.
        size: (height, width) of the images in pixels, at least 67 each. The first dense layer depends on it.
        dropout: Dropout probability after F9 and F10.
    """

    def __init__(self, num_classes: int, channels: int, size: tuple[int, int], dropout: float = 0.5) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(channels, 96, 11, stride=4)
        self.s2 = nn.MaxPool2d(3, stride=2)
        self.c3 = nn.Conv2d(96, 256, 5, padding=2)
        self.s4 = nn.MaxPool2d(3, stride=2)
        self.c5 = nn.Conv2d(256, 384, 3, padding=1)
        self.c6 = nn.Conv2d(384, 384, 3, padding=1)
        self.c7 = nn.Conv2d(384, 256, 3, padding=1)
        self.s8 = nn.MaxPool2d(3, stride=2)
        self.f9 = nn.Linear(256 * _side_of_s8(size[0]) * _side_of_s8(size[1]), 4096)
        self.dropout9 = nn.Dropout(dropout)
        self.f10 = nn.Linear(4096, 4096)
        self.dropout10 = nn.Dropout(dropout)
        self.out = nn.Linear(4096, num_classes)
        init_relu(self)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the (N, num_classes) float32 logits of (N, channels, H, W) normalised images."""
        x = local_response_norm(F.relu(self.c1(images)))  # (N, 96, 55, 55), for 227x227
        x = self.s2(x)  # (N, 96, 27, 27)
        x = local_response_norm(F.relu(self.c3(x)))  # (N, 256, 27, 27)
        x = self.s4(x)  # (N, 256, 13, 13)
        x = F.relu(self.c5(x))  # (N, 384, 13, 13)
        x = F.relu(self.c6(x))  # (N, 384, 13, 13)
        x = F.relu(self.c7(x))  # (N, 256, 13, 13)
        x = self.s8(x).flatten(1)  # (N, 256 * 6 * 6)
        x = self.dropout9(F.relu(self.f9(x)))  # (N, 4096)
        x = self.dropout10(F.relu(self.f10(x)))  # (N, 4096)
        return self.out(x).float()  # (N, num_classes)


def local_response_norm(x: Tensor) -> Tensor:
    """Divide each activation by (k + alpha * sum of the squares in neighbouring maps) ** beta.

    The sum runs over the same position in the maps i - 2 to i + 2. torch multiplies alpha by the mean of the squares,
    the paper by their sum. The squares are computed in float32, because fp16 overflows above an activation of 255.

    Args:
        x: (N, C, h, w) activations.

    Returns:
        The normalised activations, with the shape and dtype of ``x``. Source: the paper, section 3.3.
    """
    normalised = F.local_response_norm(x.float(), LRN_DEPTH, alpha=LRN_ALPHA * LRN_DEPTH, beta=LRN_BETA, k=LRN_K)
    return normalised.to(x.dtype)


def _side_of_s8(side: int) -> int:
    """Return the height or width of the output of S8."""
    side = (side - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side
