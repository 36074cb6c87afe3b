"""What an exported graph may hold around a network: the way in from bytes, the ways out, and a class activation map."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.models.scaling import min_max

PROBE_ATOL = 1e-4  # relative to the largest score


class FromBytes(nn.Module):
    """uint8 images, (N, C, H, W) or (N, H, W, C), to what a network takes: 0..1, less ``mean``, divided by ``std``."""

    def __init__(self, layout: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels_last = layout == "nhwc"
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float32))
        shift = -torch.tensor(mean, dtype=torch.float32) / torch.tensor(std, dtype=torch.float32)
        self.scale, self.shift = nn.Buffer(scale.view(1, -1, 1, 1)), nn.Buffer(shift.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) in the precision of the network."""
        pixels = images.permute(0, 3, 1, 2) if self.channels_last else images
        return pixels.to(self.scale.dtype) * self.scale + self.shift


class TopClasses(nn.Module):
    """Logits (N, classes) to the ``count`` largest probabilities (N, count) float32, and their classes in int64."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, logits: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities, largest first, and the indices of their classes."""
        del images
        probabilities, classes = logits.float().softmax(1).topk(self.count, dim=1)
        return probabilities, classes


class MapAtInput(nn.Module):
    """Saliency maps (N, 1, h, w) to (N, 1, H, W) float32 in 0..1 at the input's size, each by its own maximum."""

    def forward(self, maps: Tensor, images: Tensor) -> tuple[Tensor]:
        """Return the maps at the size of (N, C, H, W) images."""
        whole = F.interpolate(maps.float(), size=images.shape[-2:], mode="bilinear", align_corners=False)
        return (whole / whole.amax((2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny),)


class AsItIs(nn.Module):
    """The network's output alone, in float32."""

    def forward(self, output: Tensor, images: Tensor) -> tuple[Tensor]:
        """Return the output."""
        del images
        return (output.float(),)


class WithCam(nn.Module):
    """A classifier that also gives the Grad-CAM map (N, h, w) in 0..1 of its top class, without any gradient.

    For a head of global average pooling and one linear layer the gradient of a score at the layer before is that of the
    linear layer's weights, everywhere alike, so that Grad-CAM is CAM. Source: Selvaraju et al. 2017, section 3; Zhou et
    al. 2016, equation 2.
    """

    def __init__(self, network: nn.Module, target: TargetLayer, linear: nn.Linear) -> None:
        super().__init__()
        self.network, self.linear, self.relu = network, linear, target.relu
        self._target = target.name

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, classes) and maps (N, h, w)."""
        logits, activation = watched(self.network, self._target, images)
        weights = self.linear.weight[logits.argmax(1)]
        cam = torch.einsum("nchw,nc->nhw", activation.relu() if self.relu else activation, weights).relu().float()
        return logits, min_max(cam)


def watched(network: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return a network's output, and that of one of its layers on the way."""
    seen: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        output = network(images)
    finally:
        handle.remove()
    return output, seen[-1]


def with_cam(network: nn.Module, target: TargetLayer, size: tuple[int, int], model: str) -> WithCam:
    """Return a classifier with its Grad-CAM map beside its logits.

    Raises UsageError unless the logits are a linear layer's of the target layer's mean, which is tried out.
    """
    refusal = UsageError(
        f"--with-cam needs a head of global average pooling and one linear layer, which {model} does not have: "
        "`cvkit gradcam` explains it by gradients."
    )
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linears or target.layout != "nchw":
        raise refusal
    linear = linears[-1]
    with torch.inference_mode():
        logits, activation = watched(network, target.name, torch.randn(2, 3, *size))
        if target.relu:
            activation = activation.relu()
        if activation.ndim != 4 or activation.shape[1] != linear.in_features:
            raise refusal
        expected = linear(activation.mean((2, 3)))
        if expected.shape != logits.shape or not _alike(expected, logits):
            raise refusal
    return WithCam(network, target, linear)


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= PROBE_ATOL * other.abs().max())


class Graph(nn.Module):
    """A network with its way in and its way out, as it is exported; outputs are a tuple of tensors."""

    def __init__(self, network: nn.Module, before: nn.Module | None, after: nn.Module) -> None:
        super().__init__()
        self.before, self.network, self.after = before, network, after

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch of images."""
        pixels = images if self.before is None else self.before(images)
        found = self.network(pixels)
        first, *rest = found if isinstance(found, tuple) else (found,)
        return (*self.after(first, pixels), *rest)
