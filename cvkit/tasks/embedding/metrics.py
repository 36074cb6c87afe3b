"""How much of a data set its embedding keeps: reconstruction, neighbours, classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EPSILON = 1e-7  # probabilities are kept this far from 0 and 1, as in Keras
BLOCK_VALUES = 2**21  # distances held at once, for each space
COLUMNS = 2048  # points that distances are computed to at once
FEW = 8  # numbers a point up to which distances are computed from differences: exact, however close the points


@dataclass(frozen=True)
class Neighbourhood:
    """How well neighbours in one space are neighbours in another, each 0..1, 1 for all of them."""

    trustworthiness: float
    continuity: float


def bce(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Return the binary cross entropy (N,) in nats a pixel between (N, ...) values in 0..1.

    Reconstructions outside are brought to 1e-7 from 0 and 1 (as PCA's can be, which know no bounds).
    """
    p = reconstructed.clamp(EPSILON, 1 - EPSILON)
    return -(images * p.log() + (1 - images) * (-p).log1p()).flatten(1).mean(1)


def mse(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared error (N,) between (N, ...) values."""
    return (reconstructed - images).square().flatten(1).mean(1)


def knn_accuracy(
    train: tuple[NDArray[np.float32], NDArray[np.int64]], test: tuple[NDArray[np.float32], NDArray[np.int64]], k: int
) -> float:
    """Return the accuracy, on test codes (M, d) and labels (M,), of a k-nearest-neighbour vote among train codes.

    Distances are Euclidean, votes weigh alike (scikit-learn's classifier); ``k`` is at most the number of train codes.
    """
    from sklearn.neighbors import KNeighborsClassifier

    voters = KNeighborsClassifier(n_neighbors=min(k, len(train[0]))).fit(*train)
    return float(voters.score(*test))


def most_neighbours(count: int, k: int) -> int:
    """Return the neighbours that trustworthiness can take of ``count`` points: k, or less than half the points."""
    return min(k, (count - 1) // 2)


def neighbourhoods(
    points: Tensor,
    embeddings: Sequence[Tensor],
    k: int = 10,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Neighbourhood]:
    """Return trustworthiness and continuity of embeddings (N, d) of points (N, D) for ``k`` nearest neighbours.

    Trustworthiness falls with each point among the k nearest in the embedding that is not among them in the data, by
    its rank there; continuity with the two spaces exchanged. Euclidean distances in float64; equal distances share
    their mean rank, so that an embedding all in one place scores as one at random. Rows are computed in blocks, so that
    memory grows with N and not with its square; it is called back with the number of rows done. Raises ValueError
    unless 0 < k < N / 2.
    Source: Venna & Kaski 2001, Neighborhood preservation in nonlinear projection methods, equations 1 and 2.
    """
    count = len(points)
    if not 0 < k < count / 2:
        raise ValueError(f"{k} neighbours of {count} points: more than 0, less than half of them")
    spaces = [_Space(space) for space in (points, *embeddings)]
    penalties = torch.zeros(len(embeddings), 2, dtype=torch.float64)
    block = max(1, BLOCK_VALUES // count)
    for begin in range(0, count, block):
        rows = slice(begin, min(begin + block, count))
        data = spaces[0].distances(rows)
        near = data.topk(k, largest=False).indices
        for number, space in enumerate(spaces[1:]):
            embedded = space.distances(rows)
            intruders = embedded.topk(k, largest=False).indices
            penalties[number, 0] += _beyond(data, intruders, k)
            penalties[number, 1] += _beyond(embedded, near, k)
        on_progress(rows.stop)
    worst = count * k * (2 * count - 3 * k - 1) / 2
    return [Neighbourhood(*(1 - row / worst).tolist()) for row in penalties]


class _Space:
    """Points whose distances are asked for in blocks of rows; they are kept as they came, and not copied."""

    def __init__(self, points: Tensor) -> None:
        self.points = points.flatten(1)
        self.few = self.points.shape[1] <= FEW
        self.squares = torch.cat([part.double().square().sum(1) for part in self.points.split(COLUMNS)])

    def distances(self, rows: slice) -> Tensor:
        """Return squared distances (B, N) of some points to all, infinite to themselves."""
        some = self.points[rows].double()
        if self.few:
            found = torch.cdist(some, self.points.double(), compute_mode="donot_use_mm_for_euclid_dist").square_()
        else:
            found = torch.empty(len(some), len(self.points), dtype=torch.float64, device=some.device)
            for begin in range(0, len(self.points), COLUMNS):
                others = slice(begin, begin + COLUMNS)
                sums = self.squares[rows, None] + self.squares[None, others]
                found[:, others] = torch.addmm(sums, some, self.points[others].double().T, alpha=-2)
        own = torch.arange(len(some), device=some.device)
        found[own, own + rows.start] = torch.inf
        return found


def _beyond(distances: Tensor, chosen: Tensor, k: int) -> float:
    """Return by how much the ranks (from 1) of the chosen columns (B, k) exceed k, added up; equals share a rank."""
    total = 0.0
    for column in chosen.unbind(1):
        own = distances.gather(1, column[:, None])
        nearer, not_farther = (distances < own).sum(1), (distances <= own).sum(1)
        total += float(((nearer + not_farther + 1) / 2 - k).clamp_min_(0).double().sum())
    return total
