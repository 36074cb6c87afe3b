import math

import pytest
import torch

from cvkit.tasks.saliency.metrics.emd import emd


def cells(*at: tuple[int, int], height: int = 5, width: int = 7) -> torch.Tensor:
    """Return a map (1, H, W) of height x width cells of 32 pixels, with equal weight in the named cells."""
    grid = torch.zeros(height, width)
    for row, column in at:
        grid[row, column] = 1.0
    return grid.repeat_interleave(32, 0).repeat_interleave(32, 1)[None]


@pytest.mark.parametrize(
    ("one", "other", "work"),
    [
        ([(2, 1)], [(2, 4)], 3.0),  # three cells along a row
        ([(0, 0)], [(3, 4)], 5.0),  # a 3-4-5 triangle
        ([(0, 0), (0, 1)], [(0, 2), (0, 3)], 2.0),  # both halves by two
        ([(2, 3)], [(2, 2), (2, 4)], 1.0),  # half of the mass moves in each direction
        ([(1, 1)], [(2, 2)], math.sqrt(2)),
    ],
)
def test_the_distance_by_hand(one: list[tuple[int, int]], other: list[tuple[int, int]], work: float) -> None:
    a, b = cells(*one), cells(*other)
    assert emd(a, b).item() == pytest.approx(work)
    assert emd(b, 7 * a).item() == pytest.approx(work)


def test_identity_is_zero_and_batches_keep_their_order() -> None:
    a, b = cells((2, 1)), cells((2, 4))
    assert emd(torch.cat((a, a)), torch.cat((a, b))).tolist() == pytest.approx([0.0, 3.0], abs=1e-12)


def test_a_constant_map_is_uniform() -> None:
    # Over 1 x 3 cells, a third each: two thirds of the mass travel one cell to the middle one
    flat, middle = torch.full((1, 32, 96), 0.1), cells((0, 1), height=1, width=3)
    assert emd(flat, middle).item() == pytest.approx(2 / 3)
    assert emd(torch.zeros_like(flat), middle).item() == pytest.approx(2 / 3)


def test_sizes_that_are_no_multiple_of_a_cell() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(1, 70, 45, generator=g), torch.rand(1, 70, 45, generator=g)
    assert 0 < emd(a, b).item() < math.hypot(2, 1)
    assert emd(a, b).item() == pytest.approx(emd(b, a).item())


def test_a_value_that_is_not_finite_makes_the_score_undefined() -> None:
    broken = cells((2, 1))
    broken[0, 0, 0] = torch.inf
    assert emd(torch.cat((broken, cells((2, 1)))), torch.cat((cells((2, 4)),) * 2)).isnan().tolist() == [True, False]
