"""How much a heat map explains of a classifier's decision: drop, increase, deletion, insertion, ROAD.

Images are normalised as the network sees them: 0 is the mean colour, and a pixel is removed as a whole, in all
channels. Pixels of equal heat are taken in reading order (row by row), whether the largest or the smallest heat comes
first, so that a constant map removes the same pixels both ways and its ROAD score is exactly 0.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Score = Callable[[Tensor], Tensor]

BLUR_SIGMA_PX = 5.0
BLUR_SIZE_PX = 11
PERCENTILES = (20, 40, 60, 80)
NOISE = 0.01  # standard deviation, in units of the normalised image
TOLERANCE = 1e-6  # of the imputed values, in units of the largest pixel; errors measured: 1e-5 (224 px), 5e-5 (512 px)
MOST_ITERATIONS = 200
# Below 1 the sweep damps the finest waves on any shape: at 1, those on an image one pixel high would stay for ever.
DAMPING = 0.9


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


def impute(image: Tensor, removed: Tensor) -> Tensor:
    """Fill removed pixels so that each is the weighted mean of its 8 neighbours, (S, 3, H, W) float32.

    ``image`` is (3, H, W) float32, ``removed`` (S, H, W) bool: S ways of removing pixels, none of which removes all.
    Neighbours beside a pixel weigh 1/6, those across a corner 1/12, divided by their sum at the border. Source: the
    noisy linear imputation of Rong et al. 2022, section 4, without its noise. Raises RuntimeError when no solution is
    found, which finite images do not bring about.
    """
    free = removed.unsqueeze(1).to(image.dtype)
    # A CPU is fastest with one mask at a time, which stays in its cache (8 masks of 224 x 224 on one core: 0.24 to
    # 0.46 s, together 0.42 to 0.73 s, scipy's sparse LU 0.45 to 0.7 s); a GPU should get all at once.
    groups = free.split(1 if image.device.type == "cpu" else max(1, len(free)))
    return torch.cat([_solve(image, group) for group in groups])


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


class _Grid(NamedTuple):
    """The equations of one grid, each (S, 1, h, w) and 0 where the pixel is known.

    ``free`` marks the unknown pixels, ``total`` is the sum of the weights around each with its own, ``relax`` the
    damped inverse of the diagonal.
    """

    free: Tensor
    total: Tensor
    relax: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Return 12 times (sum of the neighbours' weights * value - weighted sum of the neighbours)."""
        return self.total * values - self.free * _around(values)


def _solve(image: Tensor, free: Tensor) -> Tensor:
    """Solve one group of masks by conjugate gradients, (S, 3, H, W).

    The matrix is symmetric positive definite: a graph Laplacian held at the known pixels. A multigrid cycle
    preconditions it, so that some 10 to 20 iterations do at any size (without it, hundreds). The preconditioned
    residual is near the error itself, which is what the search stops by.
    """
    grids = _grids(free)
    known = image * (1 - free)
    limit = TOLERANCE * image.abs().amax()
    values = torch.zeros_like(known)
    residual = free * _around(known)
    step = error = _cycle(grids, residual)
    fit = _dot(residual, error)
    for _ in range(MOST_ITERATIONS):
        if error.abs().amax() <= limit:
            return values + known
        ahead = grids[0].apply(step)
        length = _ratio(fit, _dot(step, ahead))
        values = values + length * step
        residual = residual - length * ahead
        error = _cycle(grids, residual)
        last, fit = fit, _dot(residual, error)
        step = error + _ratio(fit, last) * step
    raise RuntimeError(f"the imputation of removed pixels did not converge in {MOST_ITERATIONS} iterations")


def _grids(free: Tensor) -> list[_Grid]:
    """Return the grids from fine to coarse, each with every second pixel of the last.

    A coarse pixel is unknown where all fine ones that it would change are: corrections never touch a known pixel.
    """
    grids = []
    while True:
        total = _around(torch.ones_like(free[:1]))
        # A single pixel has no neighbours; its diagonal of 0 is never used.
        grids.append(_Grid(free, free * total, DAMPING * free / (total - 4).clamp_min(1)))
        if max(free.shape[-2:]) <= 3 or not free.any():
            return grids
        free = (_coarser(1 - free) == 0).to(free.dtype)


def _cycle(grids: list[_Grid], residual: Tensor) -> Tensor:
    """Return about the values whose equations give ``residual``: one symmetric multigrid V-cycle."""
    grid = grids[0]
    values = grid.relax * residual
    if len(grids) == 1:
        return values
    rest = _coarser(residual - grid.apply(values))
    values = values + _finer(_cycle(grids[1:], grids[1].free * rest), *residual.shape[-2:])
    return values + grid.relax * (residual - grid.apply(values))


def _around(values: Tensor) -> Tensor:
    """Return the 3 x 3 sums with weights 1 2 1, 2 4 2, 1 2 1 (zeros outside): 12 times the neighbours', plus 4 times.

    Whole numbers keep rows of the matrix summing to zero exactly: weights of 1/6 in float32 gave errors of 5e-4. Sums
    of shifted pixels are eight times as fast here as conv2d on a CPU.
    """
    rows = values + values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    both = rows + rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both


def _coarser(values: Tensor) -> Tensor:
    """Sum (..., h, w) onto every second pixel, weights 1/2 1 1/2 each way: (..., h // 2 + 1, w // 2 + 1)."""
    height, width = values.shape[-2:]
    rows = values.new_zeros(*values.shape[:-2], height // 2 + 1, width)
    rows[..., : (height + 1) // 2, :] = values[..., ::2, :]
    between = values[..., 1::2, :] / 2
    rows[..., : height // 2, :] += between
    rows[..., 1 : height // 2 + 1, :] += between
    both = rows.new_zeros(*rows.shape[:-1], width // 2 + 1)
    both[..., : (width + 1) // 2] = rows[..., ::2]
    between = rows[..., 1::2] / 2
    both[..., : width // 2] += between
    both[..., 1 : width // 2 + 1] += between
    return both


def _finer(values: Tensor, height: int, width: int) -> Tensor:
    """Interpolate linearly to (..., height, width): the transpose of ``_coarser``."""
    columns = values.new_empty(*values.shape[:-1], width)
    columns[..., ::2] = values[..., : (width + 1) // 2]
    columns[..., 1::2] = (values[..., : width // 2] + values[..., 1 : width // 2 + 1]) / 2
    both = values.new_empty(*values.shape[:-2], height, width)
    both[..., ::2, :] = columns[..., : (height + 1) // 2, :]
    both[..., 1::2, :] = (columns[..., : height // 2, :] + columns[..., 1 : height // 2 + 1, :]) / 2
    return both


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((-2, -1), keepdim=True)


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Divide, with 0 where there is nothing left to divide by: that channel is solved."""
    return torch.where(other > 0, one / other, 0.0)
