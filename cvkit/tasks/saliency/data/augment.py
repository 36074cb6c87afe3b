"""Augment an image together with its saliency map and fixation counts."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SCALE = 0.75  # smallest side of a random crop as a fraction of the image
JITTER = 0.2  # largest relative change of brightness, contrast and saturation


def augment(sample: dict[str, Tensor], kind: str, rng: np.random.Generator) -> dict[str, Tensor]:
    """Augment a sample at random.

    A crop drops the fixations outside it. A crop with an empty target is not applied.

    Args:
        sample: ``image`` (3, H, W) uint8, ``target`` (1, H, W) float and, optionally, ``counts`` (1, H, W) integer.
        kind: "flip" mirrors half of the samples; "full" also crops them and changes their colours.
        rng: Source of the random numbers.

    Returns:
        A sample of the same shapes and dtypes.
    """
    if rng.random() < 0.5:
        sample = {name: value.flip(-1) for name, value in sample.items()}
    if kind == "full":
        sample = _crop(sample, rng)
        sample["image"] = _jitter_colours(sample["image"], rng)
    return sample


def _crop(sample: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    height, width = sample["image"].shape[-2:]
    scale = rng.uniform(MIN_SCALE, 1.0)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    box = (..., slice(top, top + h), slice(left, left + w))
    if not sample["target"][box].max() > 0.05:
        return sample
    cropped = dict(sample)
    image = F.interpolate(sample["image"][box][None], (height, width), mode="bilinear", align_corners=False)
    target = F.interpolate(sample["target"][box][None], (height, width), mode="bilinear", align_corners=False)[0]
    cropped["image"] = image[0]
    cropped["target"] = target / target.max()
    if "counts" in sample:
        cropped["counts"] = _enlarge_counts(sample["counts"][box], (height, width))
    return cropped


def _enlarge_counts(counts: Tensor, size: tuple[int, int]) -> Tensor:
    """Move each fixation to the pixel that its own pixel's centre is scaled to; the number of fixations stays."""
    rows, columns = torch.nonzero(counts[0], as_tuple=True)
    moved = torch.zeros((1, *size), dtype=counts.dtype)
    to_row = ((rows + 0.5) * (size[0] / counts.shape[-2])).long()
    to_column = ((columns + 0.5) * (size[1] / counts.shape[-1])).long()
    moved[0].index_put_((to_row, to_column), counts[0, rows, columns], accumulate=True)
    return moved


def _jitter_colours(image: Tensor, rng: np.random.Generator) -> Tensor:
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, size=3)
    values = image.float() * brightness
    grey = values.mean(dim=0, keepdim=True)
    values = grey + (values - grey) * saturation
    middle = values.mean()
    return (middle + (values - middle) * contrast).clamp_(0, 255).round_().to(torch.uint8)
