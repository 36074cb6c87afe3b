import pytest
import torch

from cvkit.tasks.saliency.metrics import maps


def test_scores_in_chunks_equal_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(5 * 4 * 6, dtype=torch.float32).reshape(5, 4, 6)
    seen: list[int] = []

    def score(part: torch.Tensor) -> torch.Tensor:
        seen.append(len(part))
        return part.double().sum((1, 2))

    monkeypatch.setattr(maps, "CPU_PIXELS", 2 * 24)
    assert torch.equal(maps.by_chunks(score, x), x.double().sum((1, 2)))
    assert seen == [2, 2, 1]


def test_no_images_give_no_scores() -> None:
    scores = maps.by_chunks(lambda x: x.sum((1, 2)), torch.zeros(0, 4, 6))
    assert scores.shape == (0,)
    assert scores.dtype == torch.float64


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 5)), ((3, 4), (3, 4)), ((2, 3, 4), (1, 3, 4))])
def test_shapes_must_agree(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        maps.by_chunks(lambda a, _: a.sum((1, 2)), *(torch.zeros(s) for s in shapes))


def test_unit_range_scales_a_map_to_0_to_1() -> None:
    rows = torch.tensor([[2.0, 4.0, 6.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    assert maps.unit_range(rows).tolist() == [[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]


def test_density_scales_a_map_to_sum_1() -> None:
    rows = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 2.0]], dtype=torch.float64)
    third = 1 / 3
    assert maps.density(rows, stretch=False).tolist() == [[0.25, 0.5, 0.25], [third] * 3, [0.0, 0.25, 0.75]]
    assert maps.density(rows, stretch=True).tolist() == [[0.0, 1.0, 0.0], [third] * 3, [0.0, 0.25, 0.75]]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_map_with_a_value_that_is_not_finite_has_no_score(bad: float) -> None:
    rows = torch.tensor([[0.0, 1.0, bad]], dtype=torch.float64)
    assert maps.density(rows, stretch=False).isnan().all()
    assert maps.density(rows, stretch=True).isnan().all()
    assert not maps.is_finite(rows).item()
    assert not maps.is_constant(torch.full((1, 3), bad)).item()


def test_a_row_is_constant_only_if_its_values_are_equal() -> None:
    rows = torch.full((1, 7), 0.1, dtype=torch.float64)
    assert maps.is_constant(rows).item()
    rows[0, 3] = 0.2
    assert not maps.is_constant(rows).item()


def test_large_finite_values_are_finite() -> None:
    rows = torch.tensor([[3e38, 3e38, 0.0], [3e38, torch.inf, 0.0]])
    assert maps.is_finite(rows).tolist() == [True, False]
