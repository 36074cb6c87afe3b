import math

import pytest
import torch

from cvkit.intervals import mean_interval, proportion, sign_test

Z2 = 1.959963984540054**2  # the square of the 97.5 % quantile of the normal distribution


def test_the_mean_leaves_out_undefined_values() -> None:
    got = mean_interval(torch.tensor([1.0, torch.nan, 3.0]))
    assert (got.mean, got.n) == (2.0, 2)
    # Two values: a resample is (1,1), (1,3) twice or (3,3), so the 2.5 % and 97.5 % points are the values themselves
    assert (got.low, got.high) == (1.0, 3.0)


def test_the_interval_is_close_to_that_of_a_normal_distribution() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = mean_interval(values)
    half = 1.96 * float(values.std(correction=0)) / math.sqrt(400)
    assert got.low == pytest.approx(got.mean - half, abs=0.01)
    assert got.high == pytest.approx(got.mean + half, abs=0.01)
    narrow = mean_interval(values, level=0.5)
    assert got.low < narrow.low < narrow.mean < narrow.high < got.high


def test_the_interval_depends_on_the_seed_only() -> None:
    values = torch.arange(30.0)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_one_value_is_its_own_interval_and_no_values_have_none() -> None:
    one = mean_interval(torch.tensor([0.25]))
    assert (one.mean, one.low, one.high, one.n) == (0.25, 0.25, 0.25, 1)
    none = mean_interval(torch.tensor([torch.nan]))
    assert none.n == 0
    assert all(math.isnan(x) for x in (none.mean, none.low, none.high))


@pytest.mark.parametrize(("level", "samples"), [(0.0, 10), (1.0, 10), (95, 10), (0.95, 0)])
def test_invalid_levels_and_sample_counts_are_refused(level: float, samples: int) -> None:
    with pytest.raises(ValueError, match="level"):
        mean_interval(torch.ones(3), level=level, samples=samples)


def bounds(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    fraction = proportion(hits, n, level)
    assert (fraction.value, fraction.n) == (pytest.approx(hits / n), n)
    return fraction.low, fraction.high


def test_the_wilson_interval_by_hand() -> None:
    # 1 of 2: the middle is 1/2, the half width z sqrt(1/2 + z²/4) / (2 + z²)
    half = math.sqrt(Z2) * math.sqrt(0.5 + Z2 / 4) / (2 + Z2)
    assert bounds(1, 2) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-12)
    # p = .79375: middle (.79375 + z²/320) / (1 + z²/160) = .786863, half width .062336
    assert bounds(127, 160) == pytest.approx((0.7245262240066808, 0.8491991363300600), abs=1e-12)
    # The roots x of (1 + z²/n) x² - (2p + z²/n) x + p², to 40 digits
    assert bounds(150, 160) == pytest.approx((0.8887842459710526, 0.9657003332538804), abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(127, 160), (150, 160), (1, 3), (49999, 50000)])
@pytest.mark.parametrize(("level", "z"), [(0.95, 1.9599640), (0.99, 2.5758293), (0.6826895, 1.0)])
def test_the_bounds_are_z_standard_errors_away_from_the_fraction(hits: int, n: int, level: float, z: float) -> None:
    # Wilson's definition of the bounds: |p - x| = z sqrt(x (1 - x) / n)
    for x in bounds(hits, n, level):
        assert abs(hits / n - x) == pytest.approx(z * math.sqrt(x * (1 - x) / n), rel=1e-6)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_intervals_equal_those_of_newcombe_1998(hits: int, n: int, low: float, high: float) -> None:
    # Stat. Med. 17, 857-872, table I, method 3
    assert bounds(hits, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 9, 20, 32, 50000])
def test_no_hits_start_exactly_at_0_and_all_hits_end_exactly_at_1(n: int) -> None:
    assert bounds(0, n) == (0.0, pytest.approx(Z2 / (n + Z2)))
    assert bounds(n, n) == (pytest.approx(n / (n + Z2)), 1.0)


def test_the_fraction_of_no_cases_is_undefined() -> None:
    nothing = proportion(0, 0)
    assert nothing.n == 0
    assert all(math.isnan(x) for x in (nothing.value, nothing.low, nothing.high))


@pytest.mark.parametrize(("hits", "n", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (0, -1, 0.95), (1, 2, 0.0), (1, 2, 1.0)])
def test_invalid_counts_and_levels_are_refused(hits: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        proportion(hits, n, level)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (0, 5, 2 / 32), (0, 6, 2 / 64), (1, 9, 22 / 1024), (7, 7, 1.0), (2, 1, 1.0)],
)
def test_the_sign_test_by_hand(first: int, second: int, p: float) -> None:
    assert sign_test(first, second) == pytest.approx(p)
    assert sign_test(second, first) == sign_test(first, second)


def test_the_sign_test_refuses_negative_numbers() -> None:
    with pytest.raises(ValueError, match="numbers of 0 or more"):
        sign_test(-1, 2)
