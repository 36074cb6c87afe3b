"""Scores of embeddings: reconstruction errors, nearest-neighbour accuracy, trustworthiness and continuity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvkit.progress import Reporter, Step, ignore

EPSILON = 1e-7  # smallest distance of a probability from 0 and 1, as in Keras
MAX_BLOCK_DISTANCES = 2**21  # distances in memory at once, per space
COLUMNS_PER_BLOCK = 2048  # points to which distances are computed at once
# Up to this dimension, distances are computed from differences, which is exact even for very close points.
MAX_EXACT_DIMENSION = 8


@dataclass(frozen=True)
class NeighbourhoodScores:
    """The preservation of neighbourhoods by an embedding, 0..1, higher is better.

    Attributes:
        trustworthiness: 1 if all neighbours in the embedding are neighbours in the data.
        continuity: 1 if all neighbours in the data are neighbours in the embedding.
    """

    trustworthiness: float
    continuity: float


def bce(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Compute the binary cross entropy of reconstructions, as Keras does.

    Args:
        reconstructed: (N, ...) float, clipped to 1e-7..1 - 1e-7; PCA may reconstruct values outside 0..1.
        images: (N, ...) float in 0..1.

    Returns:
        Mean over the pixels of each image, (N,) in nats, lower is better.
    """
    p = reconstructed.clamp(EPSILON, 1 - EPSILON)
    return -(images * p.log() + (1 - images) * (-p).log1p()).flatten(1).mean(1)


def mse(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared error (N,) between images (N, ...); lower is better."""
    return (reconstructed - images).square().flatten(1).mean(1)


def knn_accuracy(
    train: tuple[NDArray[np.float32], NDArray[np.int64]], test: tuple[NDArray[np.float32], NDArray[np.int64]], k: int
) -> float:
    """Compute the accuracy of a k-nearest-neighbour classifier on codes: scikit-learn's, with Euclidean distances.

    Args:
        train: Codes (N, d) and labels (N,) that the classifier is fitted on.
        test: Codes (M, d) and labels (M,) that it is scored on.
        k: Number of neighbours, which vote with equal weights; N if it is larger.

    Returns:
        Fraction of the test codes with the right label, 0..1.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=min(k, len(train[0]))).fit(*train)
    return float(classifier.score(*test))


def max_neighbours(count: int, k: int) -> int:
    """Return the largest number of neighbours up to ``k`` that is less than half of ``count`` points."""
    return min(k, (count - 1) // 2)


def neighbourhood_scores(
    points: Tensor, embeddings: Sequence[Tensor], k: int = 10, report: Reporter = ignore
) -> list[NeighbourhoodScores]:
    """Compute the trustworthiness and the continuity of embeddings.

    Trustworthiness decreases with each point that is among the k nearest neighbours in the embedding but not in the
    data, by its rank in the data. Continuity is the same with the two spaces exchanged. Distances are Euclidean, in
    float64. Equal distances get their mean rank, so that an embedding of all points at one position scores like a
    random one. Rows are computed in blocks, so that the memory is proportional to N.

    Source: Venna and Kaski 2001, Neighborhood preservation in nonlinear projection methods, equations 1 and 2.

    Args:
        points: Data, (N, ...) of any dtype.
        embeddings: Embeddings of the data, each (N, d).
        k: Number of neighbours, with 0 < k < N / 2.
        report: Receives a ``Step`` with the number of finished rows after each block.

    Raises:
        ValueError: If ``k`` is out of range.
    """
    count = len(points)
    if not 0 < k < count / 2:
        raise ValueError(f"need more than 0 and less than half of {count} points as neighbours, not {k}")
    spaces = [_PairwiseDistances(space) for space in (points, *embeddings)]
    penalties = torch.zeros(len(embeddings), 2, dtype=torch.float64)
    block = max(1, MAX_BLOCK_DISTANCES // count)
    for begin in range(0, count, block):
        rows = slice(begin, min(begin + block, count))
        data = spaces[0].distances(rows)
        near = data.topk(k, largest=False).indices
        for number, space in enumerate(spaces[1:]):
            embedded = space.distances(rows)
            intruders = embedded.topk(k, largest=False).indices
            penalties[number, 0] += _rank_excess(data, intruders, k)
            penalties[number, 1] += _rank_excess(embedded, near, k)
        report(Step(rows.stop))
    worst = count * k * (2 * count - 3 * k - 1) / 2
    return [NeighbourhoodScores(*(1 - row / worst).tolist()) for row in penalties]


class _PairwiseDistances:
    """The squared distances between points (N, ...), computed in blocks of rows; the points are not copied."""

    def __init__(self, points: Tensor) -> None:
        self.points = points.flatten(1)
        self.exact = self.points.shape[1] <= MAX_EXACT_DIMENSION
        self.squares = torch.cat([part.double().square().sum(1) for part in self.points.split(COLUMNS_PER_BLOCK)])

    def distances(self, rows: slice) -> Tensor:
        """Return the squared distances (B, N) float64 of some points to all points; infinite for a point to itself."""
        some = self.points[rows].double()
        if self.exact:
            distances = torch.cdist(some, self.points.double(), compute_mode="donot_use_mm_for_euclid_dist").square_()
        else:
            distances = torch.empty(len(some), len(self.points), dtype=torch.float64, device=some.device)
            for begin in range(0, len(self.points), COLUMNS_PER_BLOCK):
                others = slice(begin, begin + COLUMNS_PER_BLOCK)
                sums = self.squares[rows, None] + self.squares[None, others]
                distances[:, others] = torch.addmm(sums, some, self.points[others].double().T, alpha=-2)
        own = torch.arange(len(some), device=some.device)
        distances[own, own + rows.start] = torch.inf
        return distances


def _rank_excess(distances: Tensor, chosen: Tensor, k: int) -> float:
    """Return the sum of max(0, rank - k) over the chosen columns (B, k), where rank 1 is the smallest distance."""
    total = 0.0
    for column in chosen.unbind(1):
        own = distances.gather(1, column[:, None])
        nearer, not_farther = (distances < own).sum(1), (distances <= own).sum(1)
        total += float(((nearer + not_farther + 1) / 2 - k).clamp_min_(0).double().sum())
    return total
