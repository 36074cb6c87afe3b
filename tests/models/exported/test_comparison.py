"""Test the comparison of the outputs of an exported file with those of its network."""

import math

import pytest
import torch

from cvkit.errors import WeightsError
from cvkit.models.exported.comparison import compare
from cvkit.models.exported.verification import choose_tolerance


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


def allowed(expected: torch.Tensor, found: torch.Tensor, *, atol: float | None = None, precision: str = "fp32") -> bool:
    return choose_tolerance(precision, atol, None).allows(compare((expected,), (found,), (1, 1), classes=False))


def test_the_rounding_of_large_outputs_is_allowed() -> None:
    large = torch.tensor([[6000.0, -5000.0, 0.5]])
    assert allowed(large, large + torch.tensor([[0.002, -0.002, 0.002]]))
    assert not allowed(large, large + torch.tensor([[0.1, 0.0, 0.0]]))
    assert not allowed(large, large + torch.tensor([[0.0, 0.0, 0.1]]))


def test_a_difference_of_ordinary_outputs_is_refused() -> None:
    ordinary = torch.tensor([[1.0, -0.5]])
    assert allowed(ordinary, ordinary + 0.9e-4)
    assert not allowed(ordinary, ordinary + 1.1e-4)


def test_outputs_that_are_tiny_are_compared_by_their_fraction() -> None:
    tiny = torch.tensor([[1e-9, -5e-10]])
    assert allowed(tiny, tiny * (1 + 1e-6))
    assert not allowed(tiny, tiny * 1.01)
    assert not allowed(tiny, torch.zeros(1, 2))


def test_one_output_that_is_large_does_not_excuse_another() -> None:
    expected = (torch.tensor([[6000.0]]), torch.tensor([[0.5]]))
    check = compare(expected, (torch.tensor([[6000.01]]), torch.tensor([[0.50045]])), (1, 1), classes=False)
    assert not choose_tolerance("fp32", None, None).allows(check)


def test_a_given_absolute_tolerance_has_no_exception() -> None:
    large = torch.tensor([[6000.0]])
    assert not allowed(large, large + 0.002, atol=1e-4)
    assert allowed(large, large + 0.002, atol=1e-2)
