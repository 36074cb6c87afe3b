import math

import pytest
import torch

from cvkit.intervals import mean_interval


def test_mean_leaves_out_what_is_undefined() -> None:
    got = mean_interval(torch.tensor([1.0, torch.nan, 3.0]))
    assert (got.mean, got.n) == (2.0, 2)
    # Two values: a resample is (1,1), (1,3) twice or (3,3), so the 2.5 % and 97.5 % points are the values themselves
    assert (got.low, got.high) == (1.0, 3.0)


def test_interval_is_near_the_normal_one() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = mean_interval(values)
    half = 1.96 * float(values.std(correction=0)) / math.sqrt(400)
    assert got.low == pytest.approx(got.mean - half, abs=0.01)
    assert got.high == pytest.approx(got.mean + half, abs=0.01)
    narrow = mean_interval(values, level=0.5)
    assert got.low < narrow.low < narrow.mean < narrow.high < got.high


def test_same_seed_same_interval() -> None:
    values = torch.arange(30.0)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_few_values() -> None:
    one = mean_interval(torch.tensor([0.25]))
    assert (one.mean, one.low, one.high, one.n) == (0.25, 0.25, 0.25, 1)
    none = mean_interval(torch.tensor([torch.nan]))
    assert none.n == 0
    assert all(math.isnan(x) for x in (none.mean, none.low, none.high))


@pytest.mark.parametrize(("level", "samples"), [(0.0, 10), (1.0, 10), (95, 10), (0.95, 0)])
def test_settings_that_cannot_be_meant(level: float, samples: int) -> None:
    with pytest.raises(ValueError, match="level"):
        mean_interval(torch.ones(3), level=level, samples=samples)
