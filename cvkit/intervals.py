"""Compute confidence intervals of means and proportions."""

import math
from dataclasses import dataclass
from statistics import NormalDist

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


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A share 0..1 of ``n`` cases with its interval; value and bounds are NaN when there are no cases."""

    value: float
    low: float
    high: float
    n: int


def proportion(hits: int, n: int, level: float = 0.95) -> Proportion:
    """Return the share ``hits`` / ``n`` with its score interval at ``level``.

    Raises ValueError unless 0 <= hits <= n and 0 < level < 1. Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    if not (0 <= hits <= n and 0 < level < 1):
        raise ValueError(f"need 0 <= hits <= n and 0 < level < 1, not {hits} of {n} and {level}")
    if n == 0:
        return Proportion(value=math.nan, low=math.nan, high=math.nan, n=0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z * math.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    # These two bounds are exact; rounding would put them beside 0 and 1.
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == n else middle + half
    return Proportion(value=hits / n, low=low, high=high, n=n)
