"""Compute confidence intervals of means and proportions."""

import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from torch import Tensor

# Number of resampled values held at a time (32 MB).
_BLOCK = 2**22


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean with its confidence interval, all NaN if no value is defined.

    Attributes:
        mean: Mean of the defined values.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of defined values.
    """

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Tensor, *, level: float = 0.95, samples: int = 10000, seed: int = 0) -> MeanInterval:
    """Compute the mean of the defined values and its percentile bootstrap interval (Efron 1979).

    Args:
        values: (N,) float. NaN means undefined and is left out.
        level: Confidence level, between 0 and 1.
        samples: Number of sets of n values that are drawn with replacement.
        seed: Seed of the draws. The same seed and n give the same sets, so that all columns of one evaluation are
            resampled in the same way.

    Raises:
        ValueError: If the level is outside 0..1, or ``samples`` is below 1.
    """
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"need 0 < level < 1 and samples >= 1, not {level} and {samples}")
    defined = values.detach().cpu().double().numpy()
    defined = defined[~np.isnan(defined)]
    n = len(defined)
    if n == 0:
        return MeanInterval(mean=math.nan, low=math.nan, high=math.nan, n=0)
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // n)
    means = [
        defined[rng.integers(0, n, size=(min(step, samples - done), n), dtype=np.int32)].mean(axis=1)
        for done in range(0, samples, step)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return MeanInterval(mean=float(defined.mean()), low=float(low), high=float(high), n=n)


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A proportion with its confidence interval, all NaN if there are no cases.

    Attributes:
        value: Proportion, 0..1.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of cases.
    """

    value: float
    low: float
    high: float
    n: int


def proportion(hits: int, n: int, level: float = 0.95) -> Proportion:
    """Compute the proportion ``hits / n`` and its score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Args:
        hits: Number of cases that count, 0..n.
        n: Number of cases.
        level: Confidence level, between 0 and 1.

    Raises:
        ValueError: If an argument is outside its range.
    """
    if not (0 <= hits <= n and 0 < level < 1):
        raise ValueError(f"need 0 <= hits <= n and 0 < level < 1, not {hits} of {n} and {level}")
    if n == 0:
        return Proportion(value=math.nan, low=math.nan, high=math.nan, n=0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z * math.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    # These two bounds are exact, and rounding errors would move them off 0 and 1.
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == n else middle + half
    return Proportion(value=hits / n, low=low, high=high, n=n)


def sign_test(first: int, second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947, Psychometrika 12, 153-157).

    Args:
        first: Number of cases in which only the first of two classifiers is right.
        second: Number of cases in which only the second one is right.

    Raises:
        ValueError: If a number is negative.
    """
    if min(first, second) < 0:
        raise ValueError(f"need numbers of 0 or more, not {first} and {second}")
    n = first + second
    tail = sum(math.comb(n, k) for k in range(min(first, second) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))
