"""Means and squared deviations of maps, block by block."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import blocks

# Smallest fraction of the sum of squares that the squared deviations may be when they are computed as a difference: the
# difference of a smaller one would lose more than two of float64's 16 digits.
MIN_VARIATION = 0.01


def mean_and_deviation(rows: Tensor, *, correction: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each row of (N, P), both (N, 1) float64.

    The variance is the sum of squared deviations over P minus ``correction``, at least 1.
    """
    count = rows.shape[1]
    sums, powers = (torch.cat(parts, 1).sum(1, keepdim=True) for parts in zip(*_powers(rows), strict=True))
    square = powers - sums.square() / count
    if not (square > MIN_VARIATION * powers).all():  # the difference lost digits, or a value is not finite
        square = deviation_products(rows, rows)[0]
    return sums / count, (square / max(1, count - correction)).sqrt()


def _powers(rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the sums of the values and of their squares of each block, (N, 1) float64."""
    for (block,) in blocks(rows):
        values = block.to(torch.float64)
        # BLAS, which multiplies and adds in one step, would start threads of its own for each block.
        yield values.sum(1, keepdim=True), values.square().sum(1, keepdim=True)


def deviation_products(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add up products of the deviations of two maps from their means.

    Args:
        first: (N, P) of any real dtype.
        second: (N, P) of any real dtype.

    Returns:
        The sums of first times second, first squared and second squared, each (N, 1) float64.
    """
    means: tuple[list[Tensor], list[Tensor]] = ([], [])
    sums: tuple[list[Tensor], ...] = ([], [], [])
    sizes = []
    for a, b in blocks(first, second):
        mean_a, x = _centre(a)
        mean_b, y = _centre(b)
        means[0].append(mean_a)
        means[1].append(mean_b)
        for part, term in zip(sums, (x * y, x.square_(), y.square_()), strict=True):
            part.append(term.sum(1, keepdim=True))
        sizes.append(a.shape[1])
    (_, s, weights), (_, t, _) = (_combine(each, sizes) for each in means)
    between = (weights * s * t, weights * s.square(), weights * t.square())
    product, square_first, square_second = (
        torch.cat(part, 1).sum(1, keepdim=True) + extra.sum(1, keepdim=True)
        for part, extra in zip(sums, between, strict=True)
    )
    return product, square_first, square_second


def _centre(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of each row of a block, (N, 1), and the deviations from it, a new tensor, both float64."""
    values = block.to(torch.float64, copy=True)
    mean = values.sum(1, keepdim=True) / values.shape[1]  # torch's own mean takes twice the time
    return mean, values.sub_(mean)


def _combine(means: list[Tensor], sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean of whole rows (N, 1), the differences of the block means from it (N, B), and the sizes (B,).

    The sum of squared deviations of a row is that within its blocks, plus the squared differences of the block means,
    each times the size of its block (Chan, Golub and LeVeque 1983).
    """
    each = torch.cat(means, 1)
    weights = torch.tensor(sizes, dtype=torch.float64, device=each.device)
    mean = (each * weights).sum(1, keepdim=True) / weights.sum()
    return mean, each - mean, weights
