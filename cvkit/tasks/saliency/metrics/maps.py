"""What every saliency metric needs of its maps: checks, memory bounds, and the usual normalisations."""

from collections.abc import Callable

import torch
from torch import Tensor

# MATLAB's eps with the digits that pysaliency writes; the rest of its digits change no score's 10th decimal.
EPS = 2.2204e-16

# Pixels worked on at a time. Scores need a few float64 copies of their maps: this bounds them to some 100 MB on a CPU
# (where small chunks are also the fastest, being in cache) and about 2 GB on a GPU (where large ones are).
CPU_PIXELS = 2**21
GPU_PIXELS = 2**25


def by_chunks(score: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Apply ``score`` to a few images at a time, so that memory does not grow with the number of images.

    ``maps`` are (N, H, W) tensors of one shape; they are moved to the device of the first (a device without float64
    hands over to the CPU). ``score`` takes the same maps with fewer images and returns (n,). The result is (N,)
    float64. Raises ValueError when the shapes differ or are not (N, H, W).
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
    """Return (N, H, W) maps as rows of pixels, (N, H*W) float64."""
    return maps.flatten(1).to(torch.float64)


def constant(rows: Tensor) -> Tensor:
    """Say of each row whether all its values are one finite value, (N, 1) bool."""
    low, high = _ends(rows)
    return (low == high) & low.isfinite()


def finite(rows: Tensor) -> Tensor:
    """Say of each row whether all its values are finite, (N,) bool."""
    # A finite sum, one quick pass, settles nearly all cases; large finite values may still add up to infinity.
    quick = rows.sum(1).isfinite()
    if quick.all():
        return quick
    low, high = _ends(rows)
    return (low.isfinite() & high.isfinite()).squeeze(1)


def unit_range(rows: Tensor) -> Tensor:
    """Stretch each row to 0..1; a constant row becomes zeros.

    ``rows`` is (N, P) float64. A row with a value that is not finite becomes NaN throughout.
    """
    low, high = _ends(rows)
    return (rows - low) / _divisor(high - low)


def density(rows: Tensor, *, stretch: bool) -> Tensor:
    """Turn each row into weights that sum to 1; a row without any weight becomes the uniform one.

    ``rows`` is (N, P) float64. ``stretch`` brings the row to 0..1 first, as MATLAB code of the MIT benchmark does for
    SIM and information gain; otherwise only a negative minimum is lifted to zero, as pysaliency does.
    """
    lifted = unit_range(rows) if stretch else rows - rows.amin(1, keepdim=True).clamp_max(0)
    total = lifted.sum(1, keepdim=True)
    uniform = torch.full_like(total, 1 / rows.shape[1])
    return torch.where(total == 0, uniform, lifted / _divisor(total))


def _ends(rows: Tensor) -> tuple[Tensor, Tensor]:
    # Two calls: torch.aminmax over one dimension is several times slower on a CPU.
    return rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)


def _divisor(scale: Tensor) -> Tensor:
    """Replace 0 by 1, and what is not finite by NaN: a row divided by infinity would look like a map."""
    return torch.where(scale.isfinite(), torch.where(scale == 0, 1.0, scale), torch.nan)
