"""Modules that an exported graph adds to a network: preprocessing, postprocessing and a class activation map."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.models.scaling import min_max

PROBE_ATOL = 1e-4  # relative to the largest score


class FromBytes(nn.Module):
    """Convert uint8 images to normalised floats: scale to 0..1, subtract ``mean``, divide by ``std``.

    Args:
        layout: nchw for (N, C, H, W) images, nhwc for (N, H, W, C).
        mean: Mean per channel.
        std: Standard deviation per channel.
    """

    def __init__(self, layout: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels_last = layout == "nhwc"
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float32))
        shift = -torch.tensor(mean, dtype=torch.float32) / torch.tensor(std, dtype=torch.float32)
        self.scale, self.shift = nn.Buffer(scale.view(1, -1, 1, 1)), nn.Buffer(shift.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) floats in the precision of the network."""
        pixels = images.permute(0, 3, 1, 2) if self.channels_last else images
        return pixels.to(self.scale.dtype) * self.scale + self.shift


class TopClasses(nn.Module):
    """Convert (N, classes) logits to the ``count`` largest probabilities and the indices of their classes."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, logits: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, count) float32 probabilities in descending order, and (N, count) int64 classes."""
        del images
        probabilities, classes = logits.float().softmax(1).topk(self.count, dim=1)
        return probabilities, classes


class MapAtInput(nn.Module):
    """Resize saliency maps to the size of the input, and divide each by its maximum."""

    def forward(self, maps: Tensor, images: Tensor) -> tuple[Tensor]:
        """Return (N, 1, H, W) float32 maps from 0 to 1 of (N, 1, h, w) maps and (N, C, H, W) images."""
        whole = F.interpolate(maps.float(), size=images.shape[-2:], mode="bilinear", align_corners=False)
        return (whole / whole.amax((2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny),)


class AsItIs(nn.Module):
    """Convert the output of a network to float32."""

    def forward(self, output: Tensor, images: Tensor) -> tuple[Tensor]:
        """Return the output."""
        del images
        return (output.float(),)


class WithCam(nn.Module):
    """A classifier that also returns the (N, h, w) Grad-CAM map of its top class from 0 to 1, without gradients.

    If the head is a global average pooling and one linear layer, the gradient of a score with respect to the last
    feature map is constant in space and proportional to the weights of the linear layer, so Grad-CAM equals CAM.
    Source: Selvaraju et al. 2017, section 3; Zhou et al. 2016, equation 2.
    """

    def __init__(self, network: nn.Module, target: TargetLayer, linear: nn.Linear) -> None:
        super().__init__()
        self.network, self.linear, self.relu = network, linear, target.relu
        self._target = target.name

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, classes) and maps (N, h, w)."""
        logits, activation = run_with_activation(self.network, self._target, images)
        weights = self.linear.weight[logits.argmax(1)]
        cam = torch.einsum("nchw,nc->nhw", activation.relu() if self.relu else activation, weights).relu().float()
        return logits, min_max(cam)


def run_with_activation(network: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of a network, and the output of one of its layers."""
    seen: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        output = network(images)
    finally:
        handle.remove()
    return output, seen[-1]


class UpTo(nn.Module):
    """A network that ends with one of its layers and returns the output of this layer."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self._layer = network, layer

    def forward(self, images: Tensor) -> Tensor:
        """Return the output of the layer; exporters leave out the layers behind it."""
        return run_with_activation(self.network, self._layer, images)[1]


def with_cam(network: nn.Module, target: TargetLayer, size: tuple[int, int], model: str) -> WithCam:
    """Add the Grad-CAM map to the outputs of a classifier.

    Args:
        network: The classifier.
        target: The layer whose activation makes the map.
        size: (height, width) of its input in pixels.
        model: Its name, for messages.

    Raises:
        UsageError: If the logits of random images are not a linear layer applied to the mean of the target layer.
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
        logits, activation = run_with_activation(network, target.name, torch.randn(2, 3, *size))
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
    """A network with its preprocessing and postprocessing, as it is exported; it returns a tuple of tensors."""

    def __init__(self, network: nn.Module, before: nn.Module | None, after: nn.Module) -> None:
        super().__init__()
        self.before, self.network, self.after = before, network, after

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch of images."""
        pixels = images if self.before is None else self.before(images)
        found = self.network(pixels)
        first, *rest = found if isinstance(found, tuple) else (found,)
        return (*self.after(first, pixels), *rest)
