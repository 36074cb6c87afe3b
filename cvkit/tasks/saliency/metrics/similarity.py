"""Metrics that compare a predicted saliency map with a map blurred from fixations: CC, SIM, KL.

Both maps are (N, H, W), real values >= 0 of any scale, any float or integer dtype; a score is (N,) float64.
"""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import EPS, by_chunks, constant, density, pixels


def cc(pred: Tensor, target: Tensor) -> Tensor:
    """Return Pearson's correlation of the two maps, -1..1, higher is better; 0 when either map is constant.

    Both are (N, H, W), any scale. Source: CC.m of the MIT saliency benchmark.
    """
    return by_chunks(_cc, pred, target)


def sim(pred: Tensor, target: Tensor, *, stretch: bool = True) -> Tensor:
    """Return the histogram intersection of the two maps as densities, 0..1, higher is better.

    Both are (N, H, W), any scale; a constant map counts as the uniform density. ``stretch`` brings both maps to 0..1
    before they are divided by their sums (MIT, similarity.m); without it they are only divided (Tuebingen).
    """
    return by_chunks(
        lambda a, b: torch.minimum(density(pixels(a), stretch=stretch), density(pixels(b), stretch=stretch)).sum(1),
        pred,
        target,
    )


def kl(pred: Tensor, target: Tensor) -> Tensor:
    """Return the divergence KL(target || pred) of the two maps as densities, in nats, >= 0, lower is better.

    Both are (N, H, W), any scale; an all-zero map counts as the uniform density. Computed as
    sum(t * log(eps + t / (p + eps))). Source: KLdiv.m of the MIT saliency benchmark.
    """
    return by_chunks(_kl, pred, target)


def _cc(pred: Tensor, target: Tensor) -> Tensor:
    a, b = pixels(pred), pixels(target)
    # The mean of equal floats is not always that float: what is constant is decided on the values themselves.
    flat = (constant(a) | constant(b)).squeeze(1)
    a = a - a.mean(1, keepdim=True)
    b = b - b.mean(1, keepdim=True)
    shared = (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())
    return torch.where(flat, torch.zeros_like(shared), shared)


def _kl(pred: Tensor, target: Tensor) -> Tensor:
    p, t = density(pixels(pred), stretch=False), density(pixels(target), stretch=False)
    return (t * torch.log(EPS + t / (p + EPS))).sum(1)
