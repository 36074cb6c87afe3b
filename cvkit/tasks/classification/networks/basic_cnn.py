"""The basic CNN for Fashion-MNIST of Géron, "Hands-On Machine Learning" (3rd edition, 2022), chapter 14."""

import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.init import init_glorot, init_relu
from cvkit.tasks.classification.networks.grey import to_channels


class BasicCNN(nn.Module):
    """Five convolutions in three blocks, each with a 2x2 max pooling at its end, and three dense layers.

    The convolutions keep the size. The weights are He-normal, and Glorot-uniform in the last layer, as in the source.

    Args:
        num_classes: Number of classes.
        channels: Channels of the images.
        size: (height, width) of the images in pixels, at least 8 each. The first dense layer depends on it.
        dropout: Dropout probability after each of the two hidden dense layers.
    """

    def __init__(self, num_classes: int, channels: int, size: tuple[int, int], dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, padding=3)
        self.conv2 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.dense1 = nn.Linear(256 * (size[0] // 8) * (size[1] // 8), 128)
        self.dropout1 = nn.Dropout(dropout)
        self.dense2 = nn.Linear(128, 64)
        self.dropout2 = nn.Dropout(dropout)
        self.out = nn.Linear(64, num_classes)
        init_relu(self)
        init_glorot(self.out)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the (N, num_classes) float32 logits of (N, channels, H, W) normalised images."""
        images = to_channels(images, self.conv1.in_channels)
        x = F.relu(self.conv1(images))  # (N, 64, H, W)
        x = F.max_pool2d(x, 2)  # (N, 64, H/2, W/2)
        x = F.relu(self.conv2(x))  # (N, 128, H/2, W/2)
        x = F.relu(self.conv3(x))
        x = F.max_pool2d(x, 2)  # (N, 128, H/4, W/4)
        x = F.relu(self.conv4(x))  # (N, 256, H/4, W/4)
        x = F.relu(self.conv5(x))
        x = F.max_pool2d(x, 2).flatten(1)  # (N, 256 * H/8 * W/8)
        x = self.dropout1(F.relu(self.dense1(x)))  # (N, 128)
        x = self.dropout2(F.relu(self.dense2(x)))  # (N, 64)
        return self.out(x).float()  # (N, num_classes)
