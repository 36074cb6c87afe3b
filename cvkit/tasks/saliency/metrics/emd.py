"""The earth mover's distance between a predicted saliency map and a map blurred from fixations."""

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cvkit.tasks.saliency.metrics.maps import by_chunks, density

CELL_PX = 32


def emd(pred: Tensor, target: Tensor) -> Tensor:
    """Compute the earth mover's distance, the least work that turns one map into the other.

    Each map is averaged over ceil(H / 32) x ceil(W / 32) cells of about 32 x 32 pixels, scaled to 0..1 and divided by
    its sum; a constant map counts as uniform. Work is mass times the Euclidean distance between cells. The problem is
    solved exactly on the CPU. Source: EMD.m of the MIT saliency benchmark; Pele and Werman 2009.

    Args:
        pred: (N, H, W) of any scale.
        target: (N, H, W) of any scale.

    Returns:
        (N,) float64 >= 0 in cells of 32 pixels; NaN for a map with a value that is not finite.
    """
    return by_chunks(_emd, pred, target)


def _emd(pred: Tensor, target: Tensor) -> Tensor:
    # Imported here because the solver takes long to load and only this metric needs it.
    import ot

    grid = math.ceil(pred.shape[1] / CELL_PX), math.ceil(pred.shape[2] / CELL_PX)
    p, t = _cells(pred, grid), _cells(target, grid)
    centres = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float64) for side in grid)).reshape(-1, 2)
    cost = torch.cdist(centres, centres).numpy()
    works = []
    for a, b in zip(p.numpy(), t.numpy(), strict=True):
        usable = math.isfinite(a.sum()) and math.isfinite(b.sum())
        works.append(float(ot.emd2(a, b, cost)) if usable else math.nan)
    return torch.tensor(works, dtype=torch.float64, device=pred.device)


def _cells(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average (N, H, W) maps over a grid of cells and scale them to densities, (N, cells) float64 on the CPU."""
    return density(adaptive_avg_pool2d(maps.to(torch.float64), grid).flatten(1), stretch=True).cpu()
