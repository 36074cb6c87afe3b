"""Test the comparison of the outputs of an exported file with those of its network."""

import math

import pytest
import torch

from cvkit.errors import WeightsError
from cvkit.models.exported.comparison import compare


def test_differences_are_absolute_and_relative_to_the_largest_value() -> None:
    expected, found = torch.tensor([[1.0, -4.0], [2.0, 0.0]]), torch.tensor([[1.5, -4.0], [2.0, 3.0]])
    check = compare((expected,), (found,), (8, 9), classes=True)
    assert (check.batch, check.height, check.width) == (2, 8, 9)
    assert (check.absolute, check.relative, check.agreement) == (3.0, 0.75, 0.5)


def test_the_worst_output_counts_and_class_indices_are_not_subtracted() -> None:
    classes = torch.tensor([[1, 0]])
    expected = (torch.tensor([[0.75, 0.25]]), classes, torch.tensor([[10.0]]))
    found = (torch.tensor([[0.75, 0.25]]), classes + 7, torch.tensor([[9.0]]))
    check = compare(expected, found, (1, 1), classes=True)
    assert (check.absolute, check.relative, check.agreement) == (1.0, 0.1, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_outputs_that_are_not_finite_differ_infinitely(bad: float, side: int) -> None:
    pair = [torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]])]
    pair[side][0, 0] = bad
    check = compare((pair[0],), (pair[1],), (1, 1), classes=False)
    assert check.absolute == check.relative == math.inf and check.agreement is None


def test_outputs_of_different_shapes_are_refused() -> None:
    with pytest.raises(WeightsError, match="output shapes of the exported file differ"):
        compare((torch.ones(1, 2),), (torch.ones(1, 3),), (1, 1), classes=True)
