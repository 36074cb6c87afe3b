"""Metrics that compare a predicted saliency map with a map blurred from fixations: CC, SIM, KL.

Both maps are (N, H, W) of any float or integer dtype, with values >= 0 of any scale. Scores are (N,) float64.
"""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import EPS, by_chunks, density, is_constant, pixels


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
    return by_chunks(
        lambda a, b: torch.minimum(density(pixels(a), stretch=stretch), density(pixels(b), stretch=stretch)).sum(1),
        pred,
        target,
    )


def kl(pred: Tensor, target: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence KL(target || pred) of two maps as densities, in nats, >= 0.

    It is sum(t * log(eps + t / (p + eps))); an all-zero map counts as the uniform density. Source: KLdiv.m of the MIT
    saliency benchmark.
    """
    return by_chunks(_kl, pred, target)


def _cc(pred: Tensor, target: Tensor) -> Tensor:
    a, b = pixels(pred), pixels(target)
    # Constant maps are found from their values, because the mean of equal floats does not always equal them.
    flat = (is_constant(a) | is_constant(b)).squeeze(1)
    a = a - a.mean(1, keepdim=True)
    b = b - b.mean(1, keepdim=True)
    shared = (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())
    return torch.where(flat, torch.zeros_like(shared), shared)


def _kl(pred: Tensor, target: Tensor) -> Tensor:
    p, t = density(pixels(pred), stretch=False), density(pixels(target), stretch=False)
    return (t * torch.log(EPS + t / (p + EPS))).sum(1)
