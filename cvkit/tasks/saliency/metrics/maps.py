"""Helpers of saliency metrics: checks, chunks and blocks of bounded size, and normalisations."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# MATLAB's eps with the digits that pysaliency writes; the rest of its digits change no score's 10th decimal.
EPS = 2.2204e-16

# Number of values that one operation processes. On a CPU, the float64 copies of a block stay in the cache, and torch
# computes on fewer than 2**15 values in the calling thread: no score depends on the number of threads. On a GPU, the
# few float64 copies of a block need about 2 GB.
CPU_PIXELS = 2**15 - 64
GPU_PIXELS = 2**25
MIN_PARALLEL_PIXELS = 2**18  # below this, starting threads takes longer than they save


def by_chunks(score: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Score a few images at a time, so that memory does not grow with the number of images.

    On a CPU, as many threads as torch may use score one chunk each.

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
    step = max(1, _block_pixels(device) // (shape[1] * shape[2]))

    def score_from(first: int) -> Tensor:
        with torch.no_grad():  # holds in one thread
            return score(*(m[first : first + step].to(device) for m in maps))

    starts = range(0, shape[0], step)
    threads = min(len(starts), torch.get_num_threads()) if device.type == "cpu" else 1
    if threads == 1 or shape.numel() < MIN_PARALLEL_PIXELS:
        return torch.cat([score_from(first) for first in starts]).to(torch.float64)
    with ThreadPoolExecutor(threads) as pool:
        return torch.cat(list(pool.map(score_from, starts))).to(torch.float64)


def blocks(*rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same columns of each of several (N, P) tensors, at most so many that a block stays in the cache."""
    width = max(1, _block_pixels(rows[0].device) // len(rows[0]))
    yield from zip(*(each.split(width, dim=1) for each in rows), strict=True)


def _block_pixels(device: torch.device) -> int:
    return CPU_PIXELS if device.type == "cpu" else GPU_PIXELS


def total_over_blocks(term: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Add up a term over the pixels of each row.

    Args:
        term: Takes the same (N, B) columns of all ``rows`` and returns (N, B) float64.
        rows: (N, P) tensors.

    Returns:
        (N, 1) float64.
    """
    return torch.cat([term(*block).sum(1, keepdim=True) for block in blocks(*rows)], 1).sum(1, keepdim=True)


def ends(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each row, (N, 1) float64; NaN for a row with a NaN."""
    # Two calls: torch.aminmax over one dimension is several times slower on a CPU.
    return _extreme(rows, torch.amin), _extreme(rows, torch.amax)


def _extreme(rows: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
    of_blocks = [reduce(block, 1, keepdim=True) for (block,) in blocks(rows)]
    return reduce(torch.cat(of_blocks, 1), 1, keepdim=True).to(torch.float64)


def is_constant(rows: Tensor) -> Tensor:
    """Return whether all values of each row are the same finite value, (N, 1) bool."""
    # A few values of each row show for nearly all maps that they are not constant. NaN differs from itself.
    sample = rows[:, :: max(1, rows.shape[1] // 1024)]
    varies = sample.amin(1, keepdim=True) != sample.amax(1, keepdim=True)
    if varies.all():
        return ~varies
    low, high = ends(rows)
    return (low == high) & low.isfinite()


def is_finite(rows: Tensor) -> Tensor:
    """Return whether all values of each row are finite, (N,) bool."""
    low, high = ends(rows)
    return (low.isfinite() & high.isfinite()).squeeze(1)


def unit_range(values: Tensor, bounds: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Scale rows linearly to 0..1.

    A constant row becomes zeros; a row with a value that is not finite becomes NaN.

    Args:
        values: (N, F), whole rows or some of their values.
        bounds: ``ends`` of the whole rows; None if ``values`` are whole rows.

    Returns:
        (N, F) float64.
    """
    low, high = bounds or ends(values)
    return (values.to(torch.float64) - low) / _divisor(high - low)


def density(rows: Tensor, *, stretch: bool) -> Tensor:
    """Scale each row to sum 1, as ``Density`` describes, (N, P) float64."""
    return Density.fit(rows, stretch=stretch)(rows)


class Density(NamedTuple):
    """The linear function that turns each row into a density, whose sum is 1.

    A row that would be all zero becomes uniform; a row with a value that is not finite becomes NaN.

    Attributes:
        offset: (N, 1) float64, subtracted from each value.
        factor: (N, 1) float64, multiplied with the difference.
        rest: (N, 1) float64, added to the product: not 0 for a uniform row only.
        shifts: Whether any offset is not 0.
        has_rest: Whether any rest is not 0.
    """

    offset: Tensor
    factor: Tensor
    rest: Tensor
    shifts: bool
    has_rest: bool

    @classmethod
    def fit(cls, rows: Tensor, *, stretch: bool) -> "Density":
        """Return the function for (N, P) rows.

        Args:
            rows: (N, P) of any real dtype.
            stretch: Whether to subtract the minimum of the row first, as the MATLAB code of the MIT benchmark does for
                SIM and information gain; otherwise only a negative minimum is raised to zero, as in pysaliency.
        """
        low = _extreme(rows, torch.amin)
        offset = low if stretch else low.clamp_max(0)
        shifts = bool((offset != 0).any())
        total = total_over_blocks(lambda block: _minus(block, offset if shifts else None), rows)
        empty = total == 0
        factor = torch.where(empty, 0.0, 1 / _divisor(total))
        rest = torch.where(empty, torch.full_like(total, 1 / rows.shape[1]), 0.0)
        return cls(offset, factor, rest, shifts, bool(empty.any()))

    def __call__(self, values: Tensor) -> Tensor:
        """Return the density at (N, F) values of the rows, a new (N, F) float64 tensor."""
        scaled = _minus(values, self.offset if self.shifts else None) * self.factor
        return scaled.add_(self.rest) if self.has_rest else scaled


def log_in_place(values: Tensor) -> Tensor:
    """Replace float64 values by their natural logarithm; on a CPU by numpy, in a quarter of the time of torch."""
    if values.device.type != "cpu":
        return values.log_()
    with np.errstate(divide="ignore", invalid="ignore"):
        np.log(values.numpy(), out=values.numpy())
    return values


def _minus(values: Tensor, offset: Tensor | None) -> Tensor:
    """Return the values minus the offset of their row as float64, the values themselves if they are that already."""
    wide = values.to(torch.float64)
    return wide if offset is None else wide - offset


def _divisor(scale: Tensor) -> Tensor:
    """Replace 0 by 1, and values that are not finite by NaN, as division by infinity would give a valid-looking map."""
    return torch.where(scale.isfinite(), torch.where(scale == 0, 1.0, scale), torch.nan)
