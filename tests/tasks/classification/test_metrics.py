import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from cvkit.tasks.classification.metrics import accuracy, proportion, ranks_of

Z2 = 1.959963984540054**2  # the square of the 97.5 % quantile of the normal distribution


def bounds(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    share = proportion(hits, n, level)
    assert (share.value, share.n) == (pytest.approx(hits / n), n)
    return share.low, share.high


def test_the_interval_by_hand() -> None:
    # 1 of 2: the middle is 1/2, the half width z sqrt(1/2 + z²/4) / (2 + z²)
    half = math.sqrt(Z2) * math.sqrt(0.5 + Z2 / 4) / (2 + Z2)
    assert bounds(1, 2) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-12)
    # p = .79375: middle (.79375 + z²/320) / (1 + z²/160) = .786863, half width .062336
    assert bounds(127, 160) == pytest.approx((0.7245262240066808, 0.8491991363300600), abs=1e-12)
    # The roots x of (1 + z²/n) x² - (2p + z²/n) x + p², to 40 digits
    assert bounds(150, 160) == pytest.approx((0.8887842459710526, 0.9657003332538804), abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(127, 160), (150, 160), (1, 3), (49999, 50000)])
@pytest.mark.parametrize(("level", "z"), [(0.95, 1.9599640), (0.99, 2.5758293), (0.6826895, 1.0)])
def test_at_the_bounds_the_share_is_z_standard_errors_away(hits: int, n: int, level: float, z: float) -> None:
    # This is how Wilson defines them: |p - x| = z sqrt(x (1 - x) / n)
    for x in bounds(hits, n, level):
        assert abs(hits / n - x) == pytest.approx(z * math.sqrt(x * (1 - x) / n), rel=1e-6)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_intervals_of_newcombe_1998(hits: int, n: int, low: float, high: float) -> None:
    # Stat. Med. 17, 857-872, table I, method 3
    assert bounds(hits, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 9, 20, 32, 50000])
def test_none_and_all_right_end_exactly_at_0_and_1(n: int) -> None:
    assert bounds(0, n) == (0.0, pytest.approx(Z2 / (n + Z2)))
    assert bounds(n, n) == (pytest.approx(n / (n + Z2)), 1.0)


def test_no_cases_have_no_share() -> None:
    nothing = proportion(0, 0)
    assert nothing.n == 0
    assert all(math.isnan(x) for x in (nothing.value, nothing.low, nothing.high))


@pytest.mark.parametrize(("hits", "n", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (0, -1, 0.95), (1, 2, 0.0), (1, 2, 1.0)])
def test_a_share_that_cannot_be_is_refused(hits: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        proportion(hits, n, level)


def test_accuracy_by_hand() -> None:
    # Class 7: ranks 1, 2, 6, 3, once taken for 9, twice for 2. Class 2: right both times. Class 0: rank 9.
    truth = [7, 2, 7, 7, 0, 2, 7]
    ranks = [1, 1, 2, 6, 9, 1, 3]
    predicted = [7, 2, 9, 2, 5, 2, 2]
    found = accuracy(truth, ranks, predicted)
    assert found.top1 == proportion(3, 7)
    assert found.top5 == proportion(5, 7)
    assert [(c.class_index, c.top1.value, c.top5.value, c.top1.n, c.often) for c in found.classes] == [
        (0, 0.0, 0.0, 1, 5),
        (2, 1.0, 1.0, 2, None),
        (7, 0.25, 0.75, 4, 2),
    ]
    assert found.balanced == pytest.approx((0 + 1 + 0.25) / 3)
    assert asdict(found)["classes"][1]["top1"]["n"] == 2


def test_the_fifth_rank_counts_and_the_sixth_does_not() -> None:
    found = accuracy([1, 1], [5, 6], [0, 0])
    assert found.top5 == found.classes[0].top5 == proportion(1, 2)


def test_of_two_classes_taken_equally_often_the_smaller_index_is_named() -> None:
    assert accuracy([1] * 4, [2] * 4, [8, 3, 8, 3]).classes[0].often == 3


def test_a_tie_that_another_sorting_broke_otherwise_does_not_confuse() -> None:
    # Ranked second, though the first of another sorting; and the other way round.
    assert accuracy([1], [2], [1]).classes[0].often is None
    assert accuracy([1], [1], [0]).classes[0].often is None


def test_accuracy_over_nothing() -> None:
    found = accuracy([], [], [])
    assert found.classes == () and found.top1.n == found.top5.n == 0
    assert math.isnan(found.balanced) and math.isnan(found.top1.value)


def test_lists_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        accuracy([1, 2], [1], [1, 2])
    with pytest.raises(ValueError, match="from 1, not from 0"):
        accuracy([1, 2], [1, 0], [1, 2])


def test_ranks_by_hand() -> None:
    logits = torch.tensor([[0.1, 3.0, -2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [-math.inf, 0.0, math.inf, 0.0]])
    assert ranks_of(logits, torch.tensor([0, 2, 0])).tolist() == [3, 3, 4]
    assert ranks_of(logits, torch.tensor([1, 0, 2])).tolist() == [1, 1, 1]
    assert ranks_of(logits, torch.tensor([3, 3, 3])).tolist() == [2, 4, 3]


def by_sorting(logits: Tensor, classes: Tensor) -> list[int]:
    """Each class's place, from 1, after sorting by (-logit, index)."""
    places = []
    for row, true in zip(logits.tolist(), classes.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda index: (-row[index], index))
        places.append(order.index(true) + 1)
    return places


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ranks_are_those_of_sorting_with_many_ties(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(-3, 4, (200, 30), generator=generator).to(dtype) / 4
    logits[::7] *= -0.0  # zeros of either sign are equal
    logits[3, 4], logits[5, 6] = math.inf, -math.inf
    classes = torch.randint(30, (200,), generator=generator)
    ranks = ranks_of(logits, classes)
    assert ranks.dtype == torch.int64 and ranks.shape == (200,)
    assert ranks.tolist() == by_sorting(logits, classes)


def test_each_class_of_an_image_has_a_rank_of_its_own() -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, 2.0, 0.0]).expand(5, 5)
    assert ranks_of(logits, torch.arange(5)).tolist() == [3, 1, 4, 2, 5]


def test_no_images_have_no_ranks() -> None:
    assert ranks_of(torch.empty(0, 10), torch.empty(0, dtype=torch.int64)).shape == (0,)


def test_logits_without_an_order_are_refused() -> None:
    logits = torch.zeros(3, 4)
    logits[1, 2] = math.nan
    with pytest.raises(ValueError, match="image 1 have NaN"):
        ranks_of(logits, torch.tensor([0, 0, 0]))


@pytest.mark.parametrize("classes", [[0, 4], [-1, 0]])
def test_classes_outside_the_logits_are_refused(classes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"0\.\.3"):
        ranks_of(torch.zeros(2, 4), torch.tensor(classes))


@pytest.mark.parametrize(("shape", "count"), [((2, 4), 3), ((4,), 4), ((2, 4, 1), 2)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...], count: int) -> None:
    with pytest.raises(ValueError, match="need logits"):
        ranks_of(torch.zeros(shape), torch.zeros(count, dtype=torch.int64))
