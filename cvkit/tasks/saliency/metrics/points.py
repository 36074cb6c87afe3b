"""Read the values of maps at fixated pixels, and count values below thresholds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class FixatedValues(NamedTuple):
    """Values of maps at the fixations of each image.

    Attributes:
        values: (N, F) in the dtype of the map, float64 for integers, padded with +inf at the end, where F is the
            largest number of fixations of an image, at least 1.
        number: (N,) int64, the number of fixations of each image.
    """

    values: Tensor
    number: Tensor

    def mean(self, terms: Tensor) -> Tensor:
        """Return the mean over fixations of (N, F) float64 ``terms``, (N,); NaN for an image without fixations."""
        real = torch.arange(terms.shape[1], device=terms.device) < self.number[:, None]
        return torch.where(real, terms, 0.0).sum(1) / self.number

    def in_order(self) -> "FixatedValues":
        """Return the values in ascending order; the padding stays last."""
        return FixatedValues(ascending(self.values), self.number)


def at_fixations(rows: Tensor, fixations: Tensor, *, repeats: bool) -> FixatedValues:
    """Read maps at their fixated pixels.

    Args:
        rows: (N, P), the pixels of each map.
        fixations: (N, H, W) integer or bool with H*W = P, the number of fixations of each pixel.
        repeats: Whether a pixel is listed as often as it was fixated, not once.
    """
    return at_positions(rows, positions(fixations, repeats=repeats))


def at_positions(rows: Tensor, flat: Tensor) -> FixatedValues:
    """Read maps at the positions that ``positions`` returned for all of them.

    Args:
        rows: (N, P), the pixels of each map.
        flat: (M,) int64, ascending indices into the N * P pixels.
    """
    # The positions ascend, image by image, so that the limits between images give the number of each image.
    begins = torch.arange(rows.shape[0] + 1, device=flat.device) * rows.shape[1]
    number = torch.searchsorted(flat, begins).diff()
    real = torch.arange(max(1, int(number.max())), device=flat.device) < number[:, None]
    read = rows.reshape(-1)[flat]
    values = torch.full_like(real, torch.inf, dtype=read.dtype if read.is_floating_point() else torch.float64)
    values.masked_scatter_(real, read.to(values.dtype))
    return FixatedValues(values, number)


def positions(fixations: Tensor, *, repeats: bool) -> Tensor:
    """Return the flat indices of fixated pixels in ascending order, (M,) int64, for counts of any shape."""
    counts = fixations.reshape(-1)
    if counts.device.type == "cpu":  # numpy needs a third of the time of torch for few non-zero values
        flat = torch.from_numpy(np.flatnonzero(counts.numpy() != 0))
    else:
        flat = torch.nonzero(counts).squeeze(1)
    return flat.repeat_interleave(counts[flat].to(torch.int64)) if repeats else flat


def ranked(maps: Tensor) -> Tensor:
    """Flatten (N, H, W) maps to rows, (N, P) float32 or float64, whichever represents their values exactly."""
    narrow = maps.is_floating_point() and maps.dtype != torch.float64
    return maps.flatten(1).to(torch.float32 if narrow else torch.float64)


def ascending(rows: Tensor) -> Tensor:
    """Sort each row of (N, P) in ascending order, with NaN last.

    On a CPU, numpy's vectorised sort was measured ten times as fast as torch's sort, and several times as fast as
    searching for each pixel among the few fixated values.
    """
    if rows.device.type != "cpu":
        return rows.sort(1).values
    ordered = np.empty_like(rows.numpy())
    for source, row in zip(rows.numpy(), ordered, strict=True):
        row[:] = source  # copied one by one, so that a row is in the cache when it is sorted
        row.sort()
    return torch.from_numpy(ordered)


def count_from(rows: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Count the values of each row at or above each threshold.

    Args:
        rows: (N, P) float64 in any order.
        thresholds: T numbers.

    Returns:
        (N, T) int64.
    """
    if rows.device.type != "cpu":
        return torch.stack([(rows >= limit).sum(1) for limit in thresholds], 1)
    # numpy counts true values several times as fast as torch
    counts = [[np.count_nonzero(row >= limit) for limit in thresholds] for row in rows.numpy()]
    return torch.tensor(counts, dtype=torch.int64)


def count_below(ordered: Tensor, thresholds: Tensor, *, equal: bool = False) -> Tensor:
    """Count the values of each row below each threshold of that row.

    Args:
        ordered: (N, P), ascending rows.
        thresholds: (N, T) of the same dtype.
        equal: Whether to count values equal to the threshold as well.

    Returns:
        (N, T) int64.
    """
    return torch.searchsorted(ordered.contiguous(), thresholds.contiguous(), right=equal)
