"""Helpers of saliency metrics: checks, processing in chunks of bounded memory, and normalisations."""

from collections.abc import Callable

import torch
from torch import Tensor

# MATLAB's eps with the digits that pysaliency writes; the rest of its digits change no score's 10th decimal.
EPS = 2.2204e-16

# Number of pixels per chunk. Scores need a few float64 copies of their maps: this limits them to about 100 MB on a CPU,
# where small chunks are also the fastest because they stay in the cache, and to about 2 GB on a GPU, where large chunks
# are the fastest.
CPU_PIXELS = 2**21
GPU_PIXELS = 2**25


def by_chunks(score: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Score a few images at a time, so that memory does not grow with the number of images.

    Args:
        score: Takes the maps of n images and returns (n,) scores.
        maps: (N, H, W) tensors of one shape. They are moved to the device of the first, or to the CPU if that device
            has no float64.

    Returns:
        (N,) float64.

    Raises:
        ValueError: If the shapes differ or are not (N, H, W).
    """
    shape = maps[0].shape
    if len(shape) != 3 or any(m.shape != shape for m in maps):
        raise ValueError(f"maps must all be (N, H, W) of one shape, not {', '.join(str(tuple(m.shape)) for m in maps)}")
    device = torch.device("cpu") if maps[0].device.type == "mps" else maps[0].device
    if shape.numel() == 0:
        return torch.full((shape[0],), torch.nan, dtype=torch.float64, device=device)
    budget = CPU_PIXELS if device.type == "cpu" else GPU_PIXELS
    step = max(1, budget // (shape[1] * shape[2]))
    with torch.no_grad():
        parts = [score(*(m[i : i + step].to(device) for m in maps)) for i in range(0, shape[0], step)]
    return torch.cat(parts).to(torch.float64)


def pixels(maps: Tensor) -> Tensor:
    """Flatten (N, H, W) maps to rows of pixels, (N, H*W) float64."""
    return maps.flatten(1).to(torch.float64)


def is_constant(rows: Tensor) -> Tensor:
    """Return whether all values of each row are the same finite value, (N, 1) bool."""
    low, high = _ends(rows)
    return (low == high) & low.isfinite()


def is_finite(rows: Tensor) -> Tensor:
    """Return whether all values of each row are is_finite, (N,) bool."""
    # A finite sum, which takes one fast pass, decides nearly all cases; large finite values may add up to infinity.
    quick = rows.sum(1).isfinite()
    if quick.all():
        return quick
    low, high = _ends(rows)
    return (low.isfinite() & high.isfinite()).squeeze(1)


def unit_range(rows: Tensor) -> Tensor:
    """Scale each row of (N, P) float64 linearly to 0..1.

    A constant row becomes zeros; a row with a value that is not finite becomes NaN.
    """
    low, high = _ends(rows)
    return (rows - low) / _divisor(high - low)


def density(rows: Tensor, *, stretch: bool) -> Tensor:
    """Scale each row to sum 1; a row that would be all zero becomes uniform.

    Args:
        rows: (N, P) float64.
        stretch: Whether to scale the row to 0..1 first, as the MATLAB code of the MIT benchmark does for SIM and
            information gain; otherwise only a negative minimum is raised to zero, as in pysaliency.
    """
    lifted = unit_range(rows) if stretch else rows - rows.amin(1, keepdim=True).clamp_max(0)
    total = lifted.sum(1, keepdim=True)
    uniform = torch.full_like(total, 1 / rows.shape[1])
    return torch.where(total == 0, uniform, lifted / _divisor(total))


def _ends(rows: Tensor) -> tuple[Tensor, Tensor]:
    # Two calls: torch.aminmax over one dimension is several times slower on a CPU.
    return rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)


def _divisor(scale: Tensor) -> Tensor:
    """Replace 0 by 1, and values that are not finite by NaN, as division by infinity would give a valid-looking map."""
    return torch.where(scale.isfinite(), torch.where(scale == 0, 1.0, scale), torch.nan)
