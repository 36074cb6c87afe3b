"""The one path from images at a network's size to finished maps, behind predict, evaluate and sample pictures."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD
from cvkit.errors import WeightsError
from cvkit.models.exported.exported import ExportedNetwork, check_kind, memory_layout
from cvkit.tasks.saliency.networks.base import SaliencyModel, SaliencySpec
from cvkit.tasks.saliency.networks.build import build

RGB = tuple[float, float, float]


class SaliencyPredictor:
    """A saliency network with its input size, normalisation, device and precision.

    ``size`` is the (height, width) callers bring images to, ``dtype`` torch.float32, or bfloat16 or
    float16 for autocast. The network is put on the device; it is switched to evaluation during a call only.
    """

    def __init__(
        self,
        model: SaliencyModel | ExportedNetwork,
        size: tuple[int, int],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        normalisation: tuple[RGB, RGB] = (IMAGENET_MEAN, IMAGENET_STD),
    ) -> None:
        self.device = torch.device(device)
        self.size = size
        self.normalisation = normalisation
        self.dtype = dtype
        self.layout = memory_layout(model, self.device)
        self.network: nn.Module = model.to(self.device).to(memory_format=self.layout)
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in normalisation)
        # (x / 255 - mean) / std as one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * std), -mean / std

    @property
    def model(self) -> SaliencyModel:
        """Return the network where it is one of cvkit's, and no exported file."""
        assert isinstance(self.network, SaliencyModel)
        return self.network

    def __call__(self, images: Tensor, out_sizes: list[tuple[int, int]], blur_px: float = 0.0) -> list[Tensor]:
        """Return a float32 map (H, W) in 0..1 for each of (N, 3, h, w) uint8 images, at its (H, W) of ``out_sizes``.

        ``blur_px`` is the sigma of a Gaussian in pixels of the output. Each map is divided by its own maximum; an
        all-zero map stays zero. The maps are on the predictor's device.
        """
        if len(out_sizes) != len(images):
            raise ValueError(f"{len(images)} images, but {len(out_sizes)} output sizes")
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                maps = self.raw(images)
                return _finish(maps, out_sizes, blur_px)
        finally:
            self.network.train(was_training)

    def raw(self, images: Tensor) -> Tensor:
        """Return the network's own (N, 1, h', w') float32 maps of (N, 3, h, w) uint8 images, in its current mode."""
        with self._precision():
            return self.network(self.normalise(images)).float()

    def normalise(self, images: Tensor) -> Tensor:
        """Return (N, 3, h, w) uint8 images as the network takes them: normalised float32, on the device."""
        if isinstance(self.network, ExportedNetwork) and self.network.takes_bytes:
            return images.to(self.device, non_blocking=True)
        pixels = images.to(self.device, non_blocking=True).to(torch.float32)
        return torch.addcmul(self._shift, pixels, self._scale).contiguous(memory_format=self.layout)

    def metadata(self) -> dict[str, Any]:
        """Return plain values that, with the weights, rebuild the predictor (``from_metadata``)."""
        mean, std = self.normalisation
        return {"spec": self.model.spec.as_dict(), "size": list(self.size), "mean": list(mean), "std": list(std)}

    @classmethod
    def from_exported(cls, path: Path, *, device: torch.device | str = "cpu") -> "SaliencyPredictor":
        """Return a predictor that runs an exported file; WeightsError where it is none of a saliency network."""
        network = ExportedNetwork(path, torch.device(device))
        facts = network.facts
        check_kind(facts, {"saliency": "map"}, str(path))
        mean, std = (tuple(values) for values in (facts.mean, facts.std))
        return cls(network, facts.size, device=device, normalisation=(mean, std))  # type: ignore[arg-type]

    @classmethod
    def from_metadata(
        cls, card: Mapping[str, Any], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "SaliencyPredictor":
        """Rebuild a predictor from ``card()`` and its ``weights``; WeightsError where they do not go together."""
        try:
            spec, size, weights = SaliencySpec.from_dict(card["spec"]), card["size"], card["weights"]
            model = build(spec)
            model.load_state_dict(weights)
            normalisation = tuple(card["mean"]), tuple(card["std"])
        except (KeyError, TypeError, RuntimeError) as error:
            first = str(error).splitlines()[-1].strip()[:200]
            raise WeightsError(
                f"The checkpoint's weights do not go with its description of the model: {first}"
            ) from error
        return cls(model, (size[0], size[1]), device=device, dtype=dtype, normalisation=normalisation)

    def _precision(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def _finish(maps: Tensor, out_sizes: list[tuple[int, int]], blur_px: float) -> list[Tensor]:
    """Bring (N, 1, h, w) maps to their sizes, those of one size together, blur them and scale them to 0..1."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, size in enumerate(out_sizes):
        groups.setdefault(tuple(size), []).append(i)  # type: ignore[arg-type]
    finished: dict[int, Tensor] = {}
    for size, members in groups.items():
        group = maps if len(members) == len(maps) else maps[members]
        if group.shape[-2:] != size:
            group = F.interpolate(group, size=size, mode="bilinear", align_corners=False)
        if blur_px > 0:
            group = gaussian_blur(group, blur_px)
        peaks = group.amax((1, 2, 3), keepdim=True)
        group = group / peaks.clamp_min(torch.finfo(torch.float32).tiny)
        finished.update(zip(members, group[:, 0], strict=True))
    return [finished[i] for i in range(len(out_sizes))]


def gaussian_blur(maps: Tensor, sigma_px: float) -> Tensor:
    """Return (N, 1, H, W) maps blurred by a Gaussian of ``sigma_px`` cut at 4 sigma, edges mirrored without repeat."""
    for dim, side in ((2, maps.shape[2]), (3, maps.shape[3])):
        radius = min(int(4 * sigma_px + 0.5), side - 1)  # mirroring reaches no further than the other edge
        if radius == 0:
            continue
        offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma_px).square())
        kernel = (kernel / kernel.sum()).to(maps.dtype)
        pad, shape = ((0, 0, radius, radius), (1, 1, -1, 1)) if dim == 2 else ((radius, radius, 0, 0), (1, 1, 1, -1))
        maps = F.conv2d(F.pad(maps, pad, mode="reflect"), kernel.view(shape))
    return maps
