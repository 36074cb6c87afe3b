import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from cvkit.intervals import proportion
from cvkit.tasks.classification.metrics import accuracy, ranks_of


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
