"""Test the scores of embeddings against values computed by hand and those of scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness

from cvkit.progress import Event, Step
from cvkit.tasks.embedding import metrics
from cvkit.tasks.embedding.metrics import (
    NeighbourhoodScores,
    bce,
    knn_accuracy,
    max_neighbours,
    mse,
    neighbourhood_scores,
)


def test_errors_by_hand() -> None:
    made = torch.tensor([[[0.25, 0.5]], [[1.2, -0.1]]])
    images = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    assert mse(made, images).tolist() == pytest.approx([(0.0625 + 0.25) / 2, (0.04 + 0.01) / 2])
    first = -(math.log(0.75) + math.log(0.5)) / 2
    assert bce(made, images).tolist() == pytest.approx([first, 1e-7], abs=1e-7)


def test_the_cross_entropy_of_a_wrong_reconstruction_is_bounded_as_in_keras() -> None:
    assert bce(torch.zeros(1, 4), torch.ones(1, 4)).item() == pytest.approx(-math.log(1e-7), rel=1e-3)


def test_neighbourhoods_by_hand() -> None:
    """Test five points on a line, and an embedding that moves the last one between the first two.

    Nearest neighbours (k = 1) in the data: of 0 it is 1, of 1 it is 0, of 3.1 it is 1, of 6 it is 3.1, of 10 it is 6.
    """
    points = torch.tensor([[0.0], [1.0], [3.1], [6.0], [10.0]])
    moved = torch.tensor([[0.0], [1.0], [3.1], [6.0], [0.4]])
    # In the embedding: 0 -> 10 (rank 4 in the data), 1 -> 10 (rank 4), 3.1 -> 1, 6 -> 3.1, 10 -> 0 (rank 4).
    # Data's neighbours there: 1 of 0 has rank 2, 0 of 1 rank 2, 1 of 3.1 rank 1, 3.1 of 6 rank 1, 6 of 10 rank 4.
    (found,) = neighbourhood_scores(points, [moved], k=1)
    worst = 5 * 1 * (2 * 5 - 3 * 1 - 1) / 2
    assert found.trustworthiness == pytest.approx(1 - (3 + 3 + 3) / worst)
    assert found.continuity == pytest.approx(1 - (1 + 1 + 3) / worst)


def test_an_embedding_that_keeps_all_neighbours_scores_one() -> None:
    points = torch.randn(50, 6)
    found = neighbourhood_scores(points, [points * 3 + 1, points @ torch.linalg.qr(torch.randn(6, 6)).Q], k=10)
    assert found == [NeighbourhoodScores(1.0, 1.0)] * 2


@pytest.mark.parametrize("k", [1, 5, 10, 24])
@pytest.mark.parametrize("block", [2**22, 150])
def test_trustworthiness_and_continuity_equal_those_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, k: int, block: int
) -> None:
    monkeypatch.setattr(metrics, "MAX_BLOCK_DISTANCES", block)
    rng = np.random.default_rng(k)
    data = rng.integers(0, 256, (50, 30)).astype(np.uint8)
    planes = [rng.normal(size=(50, 2)).astype(np.float32), data[:, :9].astype(np.float32)]
    events: list[Event] = []
    found = neighbourhood_scores(
        torch.from_numpy(data), [torch.from_numpy(plane) for plane in planes], k, events.append
    )
    for plane, each in zip(planes, found, strict=True):
        assert each.trustworthiness == pytest.approx(trustworthiness(data, plane, n_neighbors=k), abs=1e-12)
        assert each.continuity == pytest.approx(trustworthiness(plane, data, n_neighbors=k), abs=1e-12)
    assert events[-1] == Step(50) and len(events) == (1 if block > 2500 else 17)


def test_a_collapsed_embedding_scores_like_a_random_one() -> None:
    generator = torch.Generator().manual_seed(0)
    points, plane = torch.randn(2000, 5, generator=generator), torch.randn(2000, 2, generator=generator)
    found = neighbourhood_scores(points, [torch.zeros(2000, 2), plane], k=10)
    for each in found:
        assert each.trustworthiness == pytest.approx(0.5, abs=0.06) and each.continuity == pytest.approx(0.5, abs=0.06)


def test_equal_distances_get_their_mean_rank() -> None:
    """Test four corners of a square and a distant point; each corner has two neighbours at the same distance."""
    square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    (found,) = neighbourhood_scores(square, [square], k=1)
    # A corner's nearest, whichever of two is taken, has rank (1 + 2) / 2, half beyond k; the far point's has rank 1.
    worst = 5 * 1 * (2 * 5 - 3 * 1 - 1) / 2
    assert found.trustworthiness == found.continuity == pytest.approx(1 - 4 * 0.5 / worst)


@pytest.mark.parametrize("k", [0, 5, 9])
def test_too_many_neighbours_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match="less than half"):
        neighbourhood_scores(torch.randn(10, 3), [torch.randn(10, 2)], k)


def test_the_number_of_neighbours_is_less_than_half_of_the_points() -> None:
    assert [max_neighbours(count, 10) for count in (1, 2, 3, 10, 21, 22, 1000)] == [0, 0, 1, 4, 10, 10, 10]


def test_knn_accuracy_by_hand() -> None:
    train = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]], np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1])
    test = np.array([[0.05], [5.05], [5.3], [-1.0]], np.float32)
    assert knn_accuracy((train, labels), (test, np.array([0, 1, 0, 0])), k=3) == 0.75
    assert knn_accuracy((train[:2], labels[:2]), (test, np.array([0, 1, 0, 0])), k=10) == 0.75
