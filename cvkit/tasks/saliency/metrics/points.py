"""Values of a map at fixated pixels, and counts of values above thresholds."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Points(NamedTuple):
    """The values at the fixations of each image, one row an image, padded at the end.

    ``values`` is (N, F) in the dtype of the map, padded with +inf, F being the largest number of fixations of any image
    (at least 1); ``number`` is (N,) int64, how many of them are real.
    """

    values: Tensor
    number: Tensor

    def mean(self, terms: Tensor) -> Tensor:
        """Return the mean over fixations of ``terms``, (N, F) float64; NaN for an image without any."""
        real = torch.arange(terms.shape[1], device=terms.device) < self.number[:, None]
        return torch.where(real, terms, 0.0).sum(1) / self.number

    def in_order(self) -> "Points":
        """Return the same points with ascending values; the padding stays last."""
        return Points(ascending(self.values), self.number)


def at_fixations(rows: Tensor, fixations: Tensor, *, repeats: bool) -> Points:
    """Read the rows at their fixated pixels.

    ``rows`` is (N, P) float, ``fixations`` (N, H, W) integer or bool with H*W = P: how often each pixel was fixated.
    ``repeats`` lists a pixel as often as it was fixated, otherwise once.
    """
    flat = positions(fixations, repeats=repeats)
    # The positions come in order, image by image: where each image begins among them says how many it has.
    begins = torch.arange(rows.shape[0] + 1, device=flat.device) * rows.shape[1]
    number = torch.searchsorted(flat, begins).diff()
    real = torch.arange(max(1, int(number.max())), device=flat.device) < number[:, None]
    values = torch.full_like(real, torch.inf, dtype=rows.dtype)
    values.masked_scatter_(real, rows.reshape(-1)[flat])
    return Points(values, number)


def positions(fixations: Tensor, *, repeats: bool) -> Tensor:
    """List the fixated pixels in rising order, (M,) int64, of the flattened counts of any shape."""
    counts = fixations.reshape(-1)
    if counts.device.type == "cpu":  # numpy finds the few among many in a third of torch's time
        flat = torch.from_numpy(np.flatnonzero(counts.numpy() != 0))
    else:
        flat = torch.nonzero(counts).squeeze(1)
    return flat.repeat_interleave(counts[flat].to(torch.int64)) if repeats else flat


def ranked(maps: Tensor) -> Tensor:
    """Return (N, H, W) maps as rows, (N, P) float32 or float64, whichever holds their values exactly."""
    narrow = maps.is_floating_point() and maps.dtype != torch.float64
    return maps.flatten(1).to(torch.float32 if narrow else torch.float64)


def ascending(rows: Tensor) -> Tensor:
    """Sort each row, (N, P); NaN goes last.

    On a CPU this is numpy's vectorised sort, rows in parallel: measured ten times as fast as torch's, and several
    times as fast as looking the pixels up in the few fixated values.
    """
    if rows.device.type != "cpu":
        return rows.sort(1).values
    source = rows.numpy()
    ordered = np.empty_like(source)

    def fill(n: int) -> None:
        ordered[n] = source[n]  # copied one by one: a row is still in the cache when it is sorted
        ordered[n].sort()

    workers = min(len(ordered), torch.get_num_threads())
    if workers <= 1:
        for n in range(len(ordered)):
            fill(n)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, range(len(ordered))))
    return torch.from_numpy(ordered)


def count_below(ordered: Tensor, thresholds: Tensor, *, equal: bool = False) -> Tensor:
    """Count in each ascending row the values < each threshold of that row, (N, T) int64.

    ``ordered`` is (N, P), ``thresholds`` (N, T) of the same dtype. ``equal`` counts the values <= it.
    """
    return torch.searchsorted(ordered.contiguous(), thresholds.contiguous(), right=equal)
