"""VGG16 "D" without its classifier (Simonyan and Zisserman 2015), its layers under their usual names."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.init import init_relu

# (convolutions, channels) of each block; a pooling closes every block.
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
VGG16_LAYERS: tuple[str, ...] = tuple(
    name
    for block, (convolutions, _) in enumerate(VGG16_BLOCKS, start=1)
    for name in (*(f"conv{block}_{i}" for i in range(1, convolutions + 1)), f"pool{block}")
)
# Where torchvision's vgg16 keeps each convolution: features.N, counting every convolution, ReLU and pooling.
TORCHVISION_INDEX: dict[str, int] = {}
_position = 0
for _name in VGG16_LAYERS:
    if _name.startswith("conv"):
        TORCHVISION_INDEX[_name] = _position
        _position += 2
    else:
        _position += 1


class VGG16(nn.Module):
    """The layers of VGG16 up to the last one asked for; every convolution is followed by a ReLU.

    ``taps`` are the layers whose output is returned, in the network's order; the poolings in ``dense_pools`` have
    stride 1 and keep the size.
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
        """Return the output of each tapped layer for (N, 3, H, W) images."""
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
    """Return the 2x2 maximum at stride 1 of (N, C, H, W), same size: minus infinity past the right and bottom."""
    # Padding 1 puts minus infinity on all four sides; dropping the first row and column leaves the right and bottom.
    return F.max_pool2d(x, 2, stride=1, padding=1)[..., 1:, 1:]
