import math

import pytest
import torch
from torch import Tensor

from cvkit.tasks.classification.ranking import ranks_of, top_classes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_top_classes_are_in_the_order_of_logits_then_of_indices(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.5, 3.0, -2.0, 3.0, 0.5], [1.0, 1.0, 1.0, 1.0, 1.0]], dtype=dtype)
    assert top_classes(logits, 4).tolist() == [[1, 3, 0, 4], [0, 1, 2, 3]]


def test_all_classes_are_returned_if_there_are_fewer_than_k() -> None:
    assert top_classes(torch.tensor([[0.0, 1.0]]), 5).tolist() == [[1, 0]]


def test_the_top_classes_have_the_ranks_from_one_to_k() -> None:
    logits = torch.randint(-3, 4, (20, 30), generator=torch.Generator().manual_seed(0)).float()
    for k, classes in enumerate(top_classes(logits, 30).unbind(1), start=1):
        assert ranks_of(logits, classes).tolist() == [k] * 20


def test_ranks_by_hand() -> None:
    logits = torch.tensor([[0.1, 3.0, -2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [-math.inf, 0.0, math.inf, 0.0]])
    assert ranks_of(logits, torch.tensor([0, 2, 0])).tolist() == [3, 3, 4]
    assert ranks_of(logits, torch.tensor([1, 0, 2])).tolist() == [1, 1, 1]
    assert ranks_of(logits, torch.tensor([3, 3, 3])).tolist() == [2, 4, 3]


def by_sorting(logits: Tensor, classes: Tensor) -> list[int]:
    """Return the rank of each class, from 1, after sorting by (-logit, index)."""
    ranks = []
    for row, true in zip(logits.tolist(), classes.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda index: (-row[index], index))
        ranks.append(order.index(true) + 1)
    return ranks


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ranks_equal_those_of_sorting_by_logit_and_index(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(-3, 4, (200, 30), generator=generator).to(dtype) / 4
    logits[::7] *= -0.0  # zeros of either sign are equal
    logits[3, 4], logits[5, 6] = math.inf, -math.inf
    classes = torch.randint(30, (200,), generator=generator)
    ranks = ranks_of(logits, classes)
    assert ranks.dtype == torch.int64 and ranks.shape == (200,)
    assert ranks.tolist() == by_sorting(logits, classes)


def test_the_classes_of_an_image_have_distinct_ranks() -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, 2.0, 0.0]).expand(5, 5)
    assert ranks_of(logits, torch.arange(5)).tolist() == [3, 1, 4, 2, 5]


def test_an_empty_batch_has_no_ranks() -> None:
    assert ranks_of(torch.empty(0, 10), torch.empty(0, dtype=torch.int64)).shape == (0,)


def test_nan_logits_are_refused() -> None:
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
