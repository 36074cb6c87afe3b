"""ML-Net (Cornia et al. 2016, arXiv 1609.01064): saliency from features of several levels at one resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.models.backbones import library_backbone
from cvkit.models.init import init_relu
from cvkit.tasks.saliency.networks.base import SaliencyModel, SaliencySpec
from cvkit.tasks.saliency.networks.vgg import VGG16

# Stride of the joined features, and the layers of VGG16 that give them: (tapped layers, poolings with stride 1).
STRIDE = {"mlnet": 4, "mlnet-paper": 8}
VGG_TAPS = {
    "mlnet": (("pool2", "pool3", "conv4_1"), ("pool3",)),
    "mlnet-paper": (("pool3", "pool4", "conv5_3"), ("pool4",)),
}
PROJECTED = 64  # channels of each projected level of a backbone other than VGG16
PRIOR_GRID = (6, 8)


class MLNet(SaliencyModel):
    """ML-Net: backbone, joined levels, dropout, 3x3 convolution to 64 channels, ReLU, 1x1 convolution, ReLU, prior.

    The output is the raw map, (N, 1, H/4, W/4) for ``mlnet`` and (N, 1, H/8, W/8) for ``mlnet-paper``.
    """

    def __init__(self, spec: SaliencySpec) -> None:
        super().__init__(spec, stride=STRIDE[spec.name])
        if spec.backbone == "vgg16":
            taps, dense_pools = VGG_TAPS[spec.name]
            vgg = VGG16(taps, dense_pools)
            self.backbone, channels = vgg, sum(vgg.channels)
            self.join: nn.Module = JoinSame()
        else:
            backbone = library_backbone(spec.backbone, first_stride=self.stride)
            self.min_size = max(self.min_size, backbone.min_size)
            self.backbone, channels = backbone, PROJECTED * len(backbone.channels)
            self.join = JoinProjected(backbone.channels)
        self.dropout = nn.Dropout(spec.dropout)
        self.features = nn.Conv2d(channels, 64, 3, padding=1)
        self.output = nn.Conv2d(64, 1, 1)
        self.prior = LearnedPrior() if spec.prior else None
        init_relu(self.features)
        init_positive(self.output)

    def forward(self, images: Tensor) -> Tensor:
        """Compute (N, 1, h, w) float32 raw maps >= 0 of (N, 3, H, W) normalised images."""
        self.check_size(images)
        x = self.join(self.backbone(images))  # VGG16: (N, 896, H/4, W/4) or (N, 1280, H/8, W/8)
        x = F.relu(self.features(self.dropout(x)), inplace=True)  # (N, 64, h, w)
        x = self._alive_relu(_in_float32(self.output, x))  # (N, 1, h, w)
        return x if self.prior is None else self.prior(x)

    def _alive_relu(self, x: Tensor) -> Tensor:
        """Apply the ReLU of the raw map, but in training pass the gradient through maps that are zero everywhere.

        Losses that divide by the maximum can push all pixels of a map below zero at once. Without this, such a map
        would never get a gradient again.
        """
        maps = F.relu(x)
        if self.training:
            dead = (x.detach().amax((1, 2, 3), keepdim=True) <= 0).to(x.dtype)
            maps = maps + dead * (x - x.detach())  # adds exactly zero
        return maps

    def penalty(self) -> Tensor:
        """Return the L2 penalty of the learned prior, or 0 without a prior."""
        return self.output.weight.new_zeros(()) if self.prior is None else self.prior.penalty()


def init_positive(layer: nn.Conv2d) -> None:
    """Initialise the last layer before a ReLU to give a positive map: its inputs are >= 0, and so are its weights."""
    with torch.no_grad():
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu").abs_()
        nn.init.constant_(layer.bias, 0.1)  # type: ignore[arg-type]


class JoinSame(nn.Module):
    """Concatenates levels that already have the same size."""

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return (N, sum of channels, h, w) for levels of (N, C, h, w)."""
        return torch.cat(levels, dim=1)


class JoinProjected(nn.Module):
    """Projects each level to 64 channels, resizes it to the size of the first level, and concatenates."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(count, PROJECTED, 1) for count in channels)
        init_relu(self)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return (N, 64 * levels, h, w), where h and w are those of the first (finest) level."""
        size = levels[0].shape[-2:]
        joined = []
        for project, level in zip(self.projections, levels, strict=True):
            x = F.relu(project(level), inplace=True)
            if x.shape[-2:] != size:
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            joined.append(x)
        return torch.cat(joined, dim=1)


class LearnedPrior(nn.Module):
    """Multiplies maps by 1 + W, where W is a 6x8 grid of learned weights, up-sampled; W starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, *PRIOR_GRID))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, 1, h, w) maps weighted by position."""
        weight = F.interpolate(self.weight.float(), size=maps.shape[-2:], mode="bilinear", align_corners=False)
        return maps * (1 + weight).clamp_min(0)

    def penalty(self) -> Tensor:
        """Return the mean square of W, which is the paper's ||1 - U||^2 with its factor of 1 / (w' h')."""
        return self.weight.square().mean()


def _in_float32(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a small last layer in float32 at any precision: the 8 bits of bf16 would be visible as steps."""
    assert layer.bias is not None
    if x.dtype != torch.float32:  # under autocast, or a network kept in half precision
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.float(), layer.weight.float(), layer.bias.float())
    return F.conv2d(x.float(), layer.weight.float(), layer.bias.float())
