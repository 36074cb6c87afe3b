"""Metrics that compare a predicted saliency map with a map blurred from fixations: CC, SIM, KL.

Both maps are (N, H, W) of any float or integer dtype, with values >= 0 of any scale. Scores are (N,) float64.
"""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import EPS, Density, by_chunks, is_constant, log_in_place, total_over_blocks
from cvkit.tasks.saliency.metrics.moments import deviation_products


def cc(pred: Tensor, target: Tensor) -> Tensor:
    """Compute Pearson's correlation coefficient of two maps, from -1 to 1; 0 if either map is constant.

    Source: CC.m of the MIT saliency benchmark.
    """
    return by_chunks(_cc, pred, target)


def sim(pred: Tensor, target: Tensor, *, stretch: bool = True) -> Tensor:
    """Compute the histogram intersection of two maps as densities, from 0 to 1.

    A constant map counts as the uniform density.

    Args:
        pred: (N, H, W) of any scale.
        target: (N, H, W) of any scale.
        stretch: Whether to scale both maps to 0..1 before they are divided by their sums (MIT, similarity.m), or only
            to divide them (Tuebingen).
    """

    def score(a: Tensor, b: Tensor) -> Tensor:
        a, b = a.flatten(1), b.flatten(1)
        p, t = Density.fit(a, stretch=stretch), Density.fit(b, stretch=stretch)
        return total_over_blocks(lambda x, y: torch.minimum(p(x), t(y)), a, b).squeeze(1)

    return by_chunks(score, pred, target)


def kl(pred: Tensor, target: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence KL(target || pred) of two maps as densities, in nats, >= 0.

    It is sum(t * log(eps + t / (p + eps))); an all-zero map counts as the uniform density. Source: KLdiv.m of the MIT
    saliency benchmark.
    """
    return by_chunks(_kl, pred, target)


def _cc(pred: Tensor, target: Tensor) -> Tensor:
    a, b = pred.flatten(1), target.flatten(1)
    # Constant maps are found from their values, because the mean of equal floats does not always equal them.
    flat = (is_constant(a) | is_constant(b)).squeeze(1)
    product, square_a, square_b = (value.squeeze(1) for value in deviation_products(a, b))
    shared = product / (square_a.sqrt() * square_b.sqrt())
    return torch.where(flat, torch.zeros_like(shared), shared)


def _kl(pred: Tensor, target: Tensor) -> Tensor:
    a, b = pred.flatten(1), target.flatten(1)
    p, t = Density.fit(a, stretch=False), Density.fit(b, stretch=False)

    def term(x: Tensor, y: Tensor) -> Tensor:
        true = t(y)
        return log_in_place((true / p(x).add_(EPS)).add_(EPS)).mul_(true)

    return total_over_blocks(term, a, b).squeeze(1)
