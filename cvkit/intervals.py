"""Confidence intervals of a mean score over images."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

# Resampled values held at a time: 32 MB.
_BLOCK = 2**22


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean with its interval: ``n`` is how many values were defined; all three are NaN when there are none."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Tensor, *, level: float = 0.95, samples: int = 10000, seed: int = 0) -> MeanInterval:
    """Return the mean of the defined values and its percentile bootstrap interval.

    ``values`` is (N,) float; NaN means undefined and is left out. ``samples`` sets of n images are drawn with
    replacement, the same sets for the same ``seed`` and n, so that columns of one evaluation are resampled alike.
    Raises ValueError for a level outside 0..1 or fewer than one sample. Source: Efron 1979.
    """
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"need 0 < level < 1 and samples >= 1, not {level} and {samples}")
    known = values.detach().cpu().double().numpy()
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return MeanInterval(mean=math.nan, low=math.nan, high=math.nan, n=0)
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // n)
    means = [
        known[rng.integers(0, n, size=(min(step, samples - done), n), dtype=np.int32)].mean(axis=1)
        for done in range(0, samples, step)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return MeanInterval(mean=float(known.mean()), low=float(low), high=float(high), n=n)
