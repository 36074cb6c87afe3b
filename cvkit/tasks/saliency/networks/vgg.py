"""VGG16, configuration D of Simonyan and Zisserman 2015, without its classifier and with the usual layer names."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.init import init_relu

# (convolutions, channels) of each block; every block ends in a pooling.
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
VGG16_LAYERS: tuple[str, ...] = tuple(
    name
    for block, (convolutions, _) in enumerate(VGG16_BLOCKS, start=1)
    for name in (*(f"conv{block}_{i}" for i in range(1, convolutions + 1)), f"pool{block}")
)
# Index N of each convolution in torchvision's vgg16 (features.N), which counts convolutions, ReLUs and poolings.
TORCHVISION_INDEX: dict[str, int] = {}
_position = 0
for _name in VGG16_LAYERS:
    if _name.startswith("conv"):
        TORCHVISION_INDEX[_name] = _position
        _position += 2
    else:
        _position += 1


class VGG16(nn.Module):
    """The layers of VGG16 up to the last tapped one; a ReLU follows every convolution.

    Args:
        taps: Names of the layers whose outputs are returned, in the order of the network.
        dense_pools: Names of the poolings that have stride 1 and keep the size.
    """

    def __init__(self, taps: Sequence[str], dense_pools: Sequence[str] = ()) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.dense_pools = frozenset(dense_pools)
        self.layers = VGG16_LAYERS[: max(VGG16_LAYERS.index(tap) for tap in taps) + 1]
        self.channels = [VGG16_BLOCKS[int(tap.lstrip("convpl")[0]) - 1][1] for tap in taps]
        before = 3
        for name in self.layers:
            if name.startswith("conv"):
                channels = VGG16_BLOCKS[int(name[4]) - 1][1]
                self.add_module(name, nn.Conv2d(before, channels, 3, padding=1))
                before = channels
        init_relu(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the (N, C, h, w) output of each tapped layer for (N, 3, H, W) images."""
        x, tapped = images, []
        for name in self.layers:
            if name.startswith("conv"):
                x = F.relu(self.get_submodule(name)(x), inplace=True)
            else:
                x = same_pool(x) if name in self.dense_pools else F.max_pool2d(x, 2)
            if name in self.taps:
                tapped.append(x)
        return tapped


def same_pool(x: Tensor) -> Tensor:
    """Apply 2x2 maximum pooling at stride 1 to (N, C, H, W), padded at the right and bottom to keep the size."""
    # Padding 1 adds minus infinity on all sides; dropping the first row and column leaves it at the right and bottom.
    return F.max_pool2d(x, 2, stride=1, padding=1)[..., 1:, 1:]
