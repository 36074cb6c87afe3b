"""Impute removed pixels of an image from their neighbours by solving a sparse linear system with multigrid."""

from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 1e-6  # of the imputed values, relative to the largest pixel; errors measured: 1e-5 (224 px), 5e-5 (512 px)
MAX_ITERATIONS = 200
# Damping of the Jacobi sweeps. Below 1, a sweep reduces the finest waves on any shape; with 1, the waves on an image
# that is one pixel high would stay.
DAMPING = 0.9


def impute(image: Tensor, removed: Tensor) -> Tensor:
    """Fill removed pixels so that each is the weighted mean of its 8 neighbours.

    Direct neighbours weigh 1/6 and diagonal ones 1/12, divided by the sum of the weights at the border.

    Source: noisy linear imputation of Rong et al. 2022, ROAD, arXiv 2202.00449, section 4, without the noise.

    Args:
        image: (3, H, W) float32.
        removed: S masks of removed pixels, (S, H, W) bool; no mask removes all pixels.

    Returns:
        One image per mask, (S, 3, H, W) float32.

    Raises:
        RuntimeError: If the solver does not converge, which was not seen with finite images.
    """
    free = removed.unsqueeze(1).to(image.dtype)
    # A CPU is fastest with one mask at a time, which fits in its cache (8 masks of 224 x 224 on one core: 0.24 to
    # 0.46 s; all together 0.42 to 0.73 s; scipy's sparse LU 0.45 to 0.7 s). A GPU gets all masks at once.
    groups = free.split(1 if image.device.type == "cpu" else max(1, len(free)))
    return torch.cat([_solve(image, group) for group in groups])


class _Grid(NamedTuple):
    """The linear equations on one grid; each tensor is (S, 1, h, w) and 0 at the known pixels.

    Attributes:
        free: 1 at the unknown pixels.
        total: Sum of the weights in the 3 x 3 neighbourhood, the pixel included.
        relax: Damped inverse of the diagonal of the matrix.
    """

    free: Tensor
    total: Tensor
    relax: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Apply the matrix, times 12: value * sum of the neighbours' weights - weighted sum of the neighbours."""
        return self.total * values - self.free * _weighted_sums(values)


def _solve(image: Tensor, free: Tensor) -> Tensor:
    """Solve the equations of a group of masks by conjugate gradients; return images (S, 3, H, W).

    The matrix is symmetric positive definite: a graph Laplacian with the known pixels as boundary values. It is
    preconditioned by a multigrid cycle, with which 10 to 20 iterations suffice at any size (hundreds without it). The
    preconditioned residual approximates the error and is the stopping criterion.
    """
    grids = _grids(free)
    known = image * (1 - free)
    limit = TOLERANCE * image.abs().amax()
    values = torch.zeros_like(known)
    residual = free * _weighted_sums(known)
    step = error = _cycle(grids, residual)
    energy = _dot(residual, error)
    for _ in range(MAX_ITERATIONS):
        if error.abs().amax() <= limit:
            return values + known
        product = grids[0].apply(step)
        length = _ratio(energy, _dot(step, product))
        values = values + length * step
        residual = residual - length * product
        error = _cycle(grids, residual)
        previous, energy = energy, _dot(residual, error)
        step = error + _ratio(energy, previous) * step
    raise RuntimeError(f"the imputation of removed pixels did not converge in {MAX_ITERATIONS} iterations")


def _grids(free: Tensor) -> list[_Grid]:
    """Return the grids from fine to coarse, each with every second pixel of the one before.

    A coarse pixel is unknown only if all fine pixels that it would change are unknown, so that corrections never change
    a known pixel.
    """
    grids = []
    while True:
        total = _weighted_sums(torch.ones_like(free[:1]))
        # A grid of one pixel has no neighbours, and its diagonal of 0 is never used.
        grids.append(_Grid(free, free * total, DAMPING * free / (total - 4).clamp_min(1)))
        if max(free.shape[-2:]) <= 3 or not free.any():
            return grids
        free = (_restrict(1 - free) == 0).to(free.dtype)


def _cycle(grids: list[_Grid], residual: Tensor) -> Tensor:
    """Approximate the solution for the right-hand side ``residual`` by one symmetric multigrid V-cycle."""
    grid = grids[0]
    values = grid.relax * residual
    if len(grids) == 1:
        return values
    rest = _restrict(residual - grid.apply(values))
    values = values + _interpolate(_cycle(grids[1:], grids[1].free * rest), *residual.shape[-2:])
    return values + grid.relax * (residual - grid.apply(values))


def _weighted_sums(values: Tensor) -> Tensor:
    """Return the 3 x 3 sums with the weights 1 2 1, 2 4 2, 1 2 1 and zeros outside the image.

    This is 12 times the weighted sum of the neighbours plus 4 times the pixel. With whole numbers as weights the rows
    of the matrix sum to exactly zero; weights of 1/6 in float32 gave errors of 5e-4. Sums of shifted pixels are eight
    times as fast as conv2d on a CPU.
    """
    rows = values + values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    both = rows + rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both


def _restrict(values: Tensor) -> Tensor:
    """Sum (..., h, w) onto every second pixel with the weights 1/2 1 1/2 per axis: (..., h // 2 + 1, w // 2 + 1)."""
    height, width = values.shape[-2:]
    rows = values.new_zeros(*values.shape[:-2], height // 2 + 1, width)
    rows[..., : (height + 1) // 2, :] = values[..., ::2, :]
    between = values[..., 1::2, :] / 2
    rows[..., : height // 2, :] += between
    rows[..., 1 : height // 2 + 1, :] += between
    both = rows.new_zeros(*rows.shape[:-1], width // 2 + 1)
    both[..., : (width + 1) // 2] = rows[..., ::2]
    between = rows[..., 1::2] / 2
    both[..., : width // 2] += between
    both[..., 1 : width // 2 + 1] += between
    return both


def _interpolate(values: Tensor, height: int, width: int) -> Tensor:
    """Interpolate linearly to (..., height, width); the transpose of ``_restrict``."""
    columns = values.new_empty(*values.shape[:-1], width)
    columns[..., ::2] = values[..., : (width + 1) // 2]
    columns[..., 1::2] = (values[..., : width // 2] + values[..., 1 : width // 2 + 1]) / 2
    both = values.new_empty(*values.shape[:-2], height, width)
    both[..., ::2, :] = columns[..., : (height + 1) // 2, :]
    both[..., 1::2, :] = (columns[..., : height // 2, :] + columns[..., 1 : height // 2 + 1, :]) / 2
    return both


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((-2, -1), keepdim=True)


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Divide; return 0 if the divisor is 0, which means that the channel is solved."""
    return torch.where(other > 0, one / other, 0.0)
