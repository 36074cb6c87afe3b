"""Predict saliency maps at any size, for predict, evaluate and the sample pictures of training."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD
from cvkit.errors import WeightsError
from cvkit.messages import last_line
from cvkit.models.plain import is_input_size, is_normalisation
from cvkit.models.runner import Runner
from cvkit.tasks.saliency.maps import gaussian_blur
from cvkit.tasks.saliency.networks.base import SaliencyModel, SaliencySpec
from cvkit.tasks.saliency.networks.build import build

RGB = tuple[float, float, float]


class SaliencyPredictor(Runner):
    """A saliency network with its input size, normalisation, device and precision.

    Args:
        model: A saliency network, or an exported file of one.
        size: (height, width) in pixels to which callers resize images.
        device: Device to compute on.
        dtype: torch.float32, or torch.bfloat16 or torch.float16 for autocast.
        normalisation: Mean and standard deviation (RGB) of pixel values from 0 to 1.
    """

    def __init__(
        self,
        model: nn.Module,
        size: tuple[int, int],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        normalisation: tuple[RGB, RGB] = (IMAGENET_MEAN, IMAGENET_STD),
    ) -> None:
        super().__init__(model, mean=normalisation[0], std=normalisation[1], device=device, dtype=dtype)
        self.size = size
        self.normalisation = normalisation

    @property
    def model(self) -> SaliencyModel:
        """The network, where it is not an exported file."""
        assert isinstance(self.network, SaliencyModel)
        return self.network

    def __call__(self, images: Tensor, out_sizes: list[tuple[int, int]], blur_px: float = 0.0) -> list[Tensor]:
        """Predict saliency maps.

        Args:
            images: (N, 3, h, w) uint8.
            out_sizes: (height, width) of each map in pixels.
            blur_px: Standard deviation of a Gaussian blur in pixels of the map; 0 for none.

        Returns:
            One (H, W) float32 map per image on the device, divided by its maximum; an all-zero map stays zero.
        """
        if len(out_sizes) != len(images):
            raise ValueError(f"{len(images)} images, but {len(out_sizes)} output sizes")
        with self.evaluating():
            maps = self.check_shape(self.forward(images), len(images), 1, None, None)
            return _finish(maps, out_sizes, blur_px)

    def metadata(self) -> dict[str, Any]:
        """Return plain values that rebuild the predictor together with the weights (``from_metadata``)."""
        mean, std = self.normalisation
        return {"spec": self.model.spec.as_dict(), "size": list(self.size), "mean": list(mean), "std": list(std)}

    @classmethod
    def from_metadata(
        cls, content: Mapping[str, Any], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "SaliencyPredictor":
        """Rebuild a predictor from ``metadata()`` and its ``weights``.

        Raises:
            WeightsError: If the weights do not fit the described network.
        """
        try:
            spec, size, weights = SaliencySpec.from_dict(content["spec"]), content["size"], content["weights"]
            model = build(spec)
            model.load_state_dict(weights)
            mean, std = tuple(content["mean"]), tuple(content["std"])
            if not (is_input_size(size) and is_normalisation(mean, std, 3)):
                raise ValueError("its size, mean or std is damaged")
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise WeightsError(
                f"The weights of the checkpoint do not fit the saliency network it describes: {last_line(error)}"
            ) from error
        return cls(model, (size[0], size[1]), device=device, dtype=dtype, normalisation=(mean, std))


def _finish(maps: Tensor, out_sizes: list[tuple[int, int]], blur_px: float) -> list[Tensor]:
    """Resize (N, 1, h, w) maps to their sizes, blur them and divide them by their maxima."""
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
