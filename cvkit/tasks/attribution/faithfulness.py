"""How much a heat map explains of a classifier's decision: drop, increase, deletion, insertion, ROAD.

Images are normalised as the network sees them: 0 is the mean colour, and a pixel is removed as a whole, in all
channels. Pixels of equal heat are taken in reading order (row by row), whether the largest or the smallest heat comes
first, so that a constant map removes the same pixels both ways and its ROAD score is exactly 0.
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
PERCENTILES = (20, 40, 60, 80)
NOISE = 0.01  # standard deviation, in units of the normalised image


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """The scores of one heat map; p is the probability of the explained class for the whole image.

    ``drop`` is max(0, p - p_masked) / p, 0..1, for the image multiplied by the map, lower is better (0 where p is 0);
    ``increase`` is 1 where p_masked > p, else 0. Source: Chattopadhyay et al. 2018 (Grad-CAM++).
    ``deletion`` is the area under p as the pixels of largest heat become the mean colour, 0..1, lower is better,
    ``insertion`` as they are put onto the blurred image, 0..1, higher is better. Source: Petsiuk et al. 2018 (RISE).
    ``road`` is the mean over percentiles of (p with the least relevant pixels imputed - p with the most relevant
    imputed) / 2, -0.5..0.5, higher is better. Source: Rong et al. 2022 (ROAD), combined as pytorch-grad-cam does.
    """

    drop: float
    increase: float
    deletion: float
    insertion: float
    road: float


def faithfulness(
    image: Tensor, heat: Tensor, score: Score, *, steps: int = 32, batch_size: int = 16, seed: int = 0
) -> Faithfulness:
    """Return how faithful a heat map is to the decision that ``score`` gives the probability of.

    ``image`` is (3, H, W) float32, normalised; ``heat`` (H, W) float32, 0..1, is brought to its device. ``score`` takes
    (M, 3, H, W) float32 with M <= ``batch_size`` and returns (M,); it is asked for 2 * ``steps`` + 10 images. The image
    is multiplied by the map in the normalised space, where no heat means the mean colour. Deletion and insertion go in
    ``steps`` equal steps. ``seed`` gives the noise of ROAD, which is the same on every device. All scores are NaN where
    the image or the map has a value that is not finite. Raises ValueError for other shapes and dtypes.
    """
    _check(image, heat, steps, batch_size)
    heat = heat.to(image.device)
    if not (image.isfinite().all() and heat.isfinite().all()):
        return Faithfulness(drop=math.nan, increase=math.nan, deletion=math.nan, insertion=math.nan, road=math.nan)
    pixels = heat.numel()
    counts = [round(step * pixels / steps) for step in range(steps + 1)]
    with torch.no_grad():
        place = _places(heat, descending=True)
        blank, blurred = torch.zeros_like(image), blur(image)
        variants = chain(
            (image, image * heat),
            (torch.where(place < count, blank, image) for count in counts[1:]),
            (torch.where(place < count, image, blurred) for count in counts[:-1]),
            _road_images(image, heat, seed),
        )
        found = _probabilities(variants, score, batch_size)
    whole, masked = found[:2].tolist()
    deleted, inserted, filled = found[2:].split([steps, steps, 2 * len(PERCENTILES)])
    fractions = torch.tensor(counts, dtype=torch.float64) / pixels
    most, least = filled.view(2, -1)
    return Faithfulness(
        drop=0.0 if whole == 0 or masked >= whole else (whole - masked) / whole,
        increase=math.nan if math.isnan(whole + masked) else float(masked > whole),
        deletion=float(torch.trapezoid(torch.cat((found[:1], deleted)), fractions)),
        insertion=float(torch.trapezoid(torch.cat((inserted, found[:1])), fractions)),
        road=float((least - most).mean() / 2),
    )


def blur(image: Tensor) -> Tensor:
    """Return the image insertion starts from: (3, H, W) blurred by RISE's kernel of 11 x 11 px, sigma 5 px.

    The authors blur a single pixel in an 11 x 11 field that reflects at its edges, and take the result as the kernel:
    the tails of the Gaussian are folded back in, not cut off. Outside the image lies the mean colour.
    """
    weights = [0.0] * BLUR_SIZE_PX
    centre = BLUR_SIZE_PX // 2
    far = round(4 * BLUR_SIGMA_PX)
    for offset in range(-far, far + 1):
        at = (centre + offset) % (2 * BLUR_SIZE_PX)
        weights[min(at, 2 * BLUR_SIZE_PX - 1 - at)] += math.exp(-0.5 * (offset / BLUR_SIGMA_PX) ** 2)
    total = sum(weights)
    height, width = image.shape[-2:]
    # Shifted sums, not a convolution: autocast and TF32 would take digits from that.
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


def _places(heat: Tensor, *, descending: bool) -> Tensor:
    """Return the place of each pixel in the order of its heat, (H, W) int64 from 0; equal ones in reading order."""
    order = heat.flatten().argsort(descending=descending, stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(order.numel(), device=order.device)
    return places.view(heat.shape)


def _probabilities(variants: Iterable[Tensor], score: Score, batch_size: int) -> Tensor:
    """Score the images in batches, (M,) float64 on the CPU."""
    left = iter(variants)
    parts = []
    while batch := list(islice(left, batch_size)):
        part = score(torch.stack(batch))
        if part.shape != (len(batch),):
            raise ValueError(f"score must return one probability an image, ({len(batch)},), not {tuple(part.shape)}")
        parts.append(part.float())
    return torch.cat(parts).cpu().double()  # in this order: there are devices without float64


def _road_images(image: Tensor, heat: Tensor, seed: int) -> Iterator[Tensor]:
    """Yield the images of ROAD: most relevant pixels imputed, then least relevant, each by rising percentile.

    The pixels kept are those below the percentile (numpy's definition). Both orders get the same noise, which is drawn
    on the CPU.
    """
    places = torch.stack([_places(heat, descending=descending) for descending in (True, False)])
    pixels = heat.numel()
    counts = [min(pixels - math.ceil((pixels - 1) * p / 100), pixels - 1) for p in PERCENTILES]
    removed = torch.stack([places < count for count in counts], dim=1)
    noise = torch.randn(len(PERCENTILES), *image.shape, generator=torch.Generator().manual_seed(seed))
    noise = NOISE * noise.to(image.device) * removed.unsqueeze(2)
    yield from impute(image, removed.flatten(0, 1)) + noise.flatten(0, 1)
