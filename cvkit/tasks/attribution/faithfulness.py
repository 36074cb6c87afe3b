"""Measure how faithful a heat map is to a classifier: average drop, increase, deletion, insertion and ROAD.

Images are normalised for the network, so that 0 is the mean colour. A pixel is removed in all channels. Pixels of equal
heat are ordered row by row, in ascending as in descending order of heat, so that both orders remove the same pixels of
a constant map and its ROAD score is exactly 0.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit.tasks.attribution.imputation import impute

Score = Callable[[Tensor], Tensor]

BLUR_SIGMA_PX = 5.0
BLUR_SIZE_PX = 11
PERCENTILES = (20, 40, 60, 80)  # of the heat, at which ROAD removes pixels
NOISE_SIGMA = 0.01  # of ROAD, in units of the normalised image


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """The scores of one heat map, where p is the probability of the explained class for the unchanged image.

    Sources: drop and increase: Chattopadhyay et al. 2018, Grad-CAM++, arXiv 1710.11063. Deletion and
    insertion: Petsiuk et al. 2018, RISE, arXiv 1806.07421. ROAD: Rong et al. 2022, arXiv 2202.00449; the two
    orders are combined as in pytorch-grad-cam.

    Attributes:
        drop: max(0, p - p_masked) / p for the image multiplied by the map, 0..1, lower is better; 0 if p is 0.
        increase: 1 if p_masked > p, else 0; higher is better.
        deletion: Area under the curve of p while the pixels, by descending heat, become the mean colour; 0..1, lower is
            better.
        insertion: Area under the curve of p while the pixels, by descending heat, replace those of the blurred image;
            0..1, higher is better.
        road: Mean over percentiles of (p with the least relevant pixels imputed - p with the most relevant pixels
            imputed) / 2; -0.5..0.5, higher is better.
    """

    drop: float
    increase: float
    deletion: float
    insertion: float
    road: float


def faithfulness(
    image: Tensor, heat: Tensor, score: Score, *, steps: int = 32, batch_size: int = 16, seed: int = 0
) -> Faithfulness:
    """Compute the faithfulness scores of a heat map.

    Args:
        image: (3, H, W) float32, normalised for the network.
        heat: Heat map, (H, W) float32 in 0..1, on any device.
        score: Function that returns the probabilities (M,) of the explained class for images (M, 3, H, W) float32, with
            M <= ``batch_size``. It scores 2 * ``steps`` + 10 images.
        steps: Number of equal steps of deletion and insertion.
        batch_size: Images per call of ``score``.
        seed: Seed of the noise of ROAD, which is the same on all devices.

    Returns:
        The scores; all are NaN if the image or the map has a value that is not finite.

    Raises:
        ValueError: If a shape, a dtype or a number does not fit.
    """
    _check(image, heat, steps, batch_size)
    heat = heat.to(image.device)
    if not (image.isfinite().all() and heat.isfinite().all()):
        return Faithfulness(drop=math.nan, increase=math.nan, deletion=math.nan, insertion=math.nan, road=math.nan)
    pixels = heat.numel()
    counts = [round(step * pixels / steps) for step in range(steps + 1)]
    with torch.no_grad():
        probabilities = _probabilities(_variants(image, heat, counts, seed), score, batch_size)
    whole, masked = probabilities[:2].tolist()
    deleted, inserted, imputed = probabilities[2:].split([steps, steps, 2 * len(PERCENTILES)])
    fractions = torch.tensor(counts, dtype=torch.float64) / pixels
    most, least = imputed.view(2, -1)
    return Faithfulness(
        drop=0.0 if whole == 0 or masked >= whole else (whole - masked) / whole,
        increase=math.nan if math.isnan(whole + masked) else float(masked > whole),
        deletion=float(torch.trapezoid(torch.cat((probabilities[:1], deleted)), fractions)),
        insertion=float(torch.trapezoid(torch.cat((inserted, probabilities[:1])), fractions)),
        road=float((least - most).mean() / 2),
    )


def _variants(image: Tensor, heat: Tensor, counts: list[int], seed: int) -> Iterator[Tensor]:
    """Return the images to score: the image, the masked image, and those of deletion, insertion and ROAD.

    ``counts`` are the numbers of pixels changed after each step, from 0 to all of them.
    """
    order = _pixel_order(heat, descending=True)
    blank, blurred = torch.zeros_like(image), blur(image)
    return chain(
        (image, image * heat),
        (torch.where(order < count, blank, image) for count in counts[1:]),
        (torch.where(order < count, image, blurred) for count in counts[:-1]),
        _road_images(image, heat, seed),
    )


def blur(image: Tensor) -> Tensor:
    """Blur an image as the start of insertion: RISE's Gaussian kernel of 11 x 11 px with sigma 5 px.

    The authors blur a single pixel in an 11 x 11 field with reflected edges and use the result as the kernel. The tails
    of the Gaussian are therefore folded into the kernel, and not cut off. Pixels outside the image count as 0, which is
    the mean colour.

    Args:
        image: (3, H, W) float32, normalised.

    Returns:
        (3, H, W) float32.
    """
    weights = [0.0] * BLUR_SIZE_PX
    centre = BLUR_SIZE_PX // 2
    far = round(4 * BLUR_SIGMA_PX)
    for offset in range(-far, far + 1):
        at = (centre + offset) % (2 * BLUR_SIZE_PX)
        weights[min(at, 2 * BLUR_SIZE_PX - 1 - at)] += math.exp(-0.5 * (offset / BLUR_SIGMA_PX) ** 2)
    total = sum(weights)
    height, width = image.shape[-2:]
    # Shifted sums, because a convolution would lose digits under autocast and TF32.
    rows = F.pad(image, (0, 0, centre, centre))
    image = sum((rows[:, i : i + height] * (w / total) for i, w in enumerate(weights)), torch.zeros_like(image))
    columns = F.pad(image, (centre, centre))
    return sum((columns[..., i : i + width] * (w / total) for i, w in enumerate(weights)), torch.zeros_like(image))


def _check(image: Tensor, heat: Tensor, steps: int, batch_size: int) -> None:
    if image.dim() != 3 or image.shape[0] != 3 or image.numel() == 0 or heat.shape != image.shape[1:]:
        shapes = f"{tuple(image.shape)} and {tuple(heat.shape)}"
        raise ValueError(f"the image must be (3, H, W) and the heat map (H, W) of the same size, not {shapes}")
    if image.dtype != torch.float32 or heat.dtype != torch.float32:
        raise ValueError(f"image and heat map must be float32, not {image.dtype} and {heat.dtype}")
    if steps < 1 or batch_size < 1:
        raise ValueError(f"need steps >= 1 and batch_size >= 1, not {steps} and {batch_size}")


def _pixel_order(heat: Tensor, *, descending: bool) -> Tensor:
    """Return the position of each pixel in the order of heat, (H, W) int64 from 0; equal heat is ordered row by row."""
    order = heat.flatten().argsort(descending=descending, stable=True)
    positions = torch.empty_like(order)
    positions[order] = torch.arange(order.numel(), device=order.device)
    return positions.view(heat.shape)


def _probabilities(variants: Iterable[Tensor], score: Score, batch_size: int) -> Tensor:
    """Score images (3, H, W) in batches; return their probabilities (M,) float64 on the CPU."""
    left = iter(variants)
    parts = []
    while batch := list(islice(left, batch_size)):
        part = score(torch.stack(batch))
        if part.shape != (len(batch),):
            raise ValueError(f"score must return one probability per image, ({len(batch)},), not {tuple(part.shape)}")
        parts.append(part.float())
    return torch.cat(parts).cpu().double()  # to the CPU first, because MPS has no float64


def _road_images(image: Tensor, heat: Tensor, seed: int) -> Iterator[Tensor]:
    """Yield the images of ROAD: the most relevant pixels imputed, then the least relevant, by ascending percentile.

    Pixels below the percentile (as numpy defines it) are kept. Both orders get the same noise, which is drawn on the
    CPU.
    """
    positions = torch.stack([_pixel_order(heat, descending=descending) for descending in (True, False)])
    pixels = heat.numel()
    counts = [min(pixels - math.ceil((pixels - 1) * p / 100), pixels - 1) for p in PERCENTILES]
    removed = torch.stack([positions < count for count in counts], dim=1)
    noise = torch.randn(len(PERCENTILES), *image.shape, generator=torch.Generator().manual_seed(seed))
    noise = NOISE_SIGMA * noise.to(image.device) * removed.unsqueeze(2)
    yield from impute(image, removed.flatten(0, 1)) + noise.flatten(0, 1)
