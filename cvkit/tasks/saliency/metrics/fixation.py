"""Metrics that read a predicted saliency map at the fixated pixels: NSS and information gain."""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import EPS, Density, by_chunks, is_constant
from cvkit.tasks.saliency.metrics.moments import mean_and_deviation
from cvkit.tasks.saliency.metrics.points import at_fixations, at_positions, positions


def nss(pred: Tensor, fixations: Tensor, *, repeats: bool = False, correction: int = 1) -> Tensor:
    """Compute NSS, the mean over fixations of the map standardised to mean 0 and standard deviation 1.

    MIT (NSS.m) uses ``repeats`` False and ``correction`` 1, Tuebingen True and 0. Source: Peters et al. 2005.

    Args:
        pred: (N, H, W) of any scale.
        fixations: (N, H, W) integers, the number of fixations of each pixel.
        repeats: Whether a pixel counts as often as it was fixated, not once.
        correction: The standard deviation divides by the number of pixels minus this.

    Returns:
        (N,) float64; 0 for a constant map, NaN for an image without fixations.
    """

    def score(maps: Tensor, counts: Tensor) -> Tensor:
        rows = maps.flatten(1)
        points = at_fixations(rows, counts, repeats=repeats)
        mean, std = mean_and_deviation(rows, correction=correction)
        flat = is_constant(rows)
        z = (points.values - mean) / torch.where(flat, torch.ones_like(std), std)
        return points.mean(torch.where(flat, torch.zeros_like(z), z))

    return by_chunks(score, pred, fixations)


def information_gain(
    pred: Tensor, fixations: Tensor, baseline: Tensor, *, repeats: bool = False, stretch: bool = True
) -> Tensor:
    """Compute information gain, the mean over fixations of log2(density of the map / density of the baseline).

    MIT (InfoGain.m) uses ``repeats`` False and ``stretch`` True, Tuebingen True and False. Source: Kuemmerer et al.
    2015.

    Args:
        pred: (N, H, W) of any scale; a constant map counts as the uniform density.
        fixations: (N, H, W) integers, the number of fixations of each pixel.
        baseline: (N, H, W) or (H, W) of any scale.
        repeats: Whether a pixel counts as often as it was fixated, not once.
        stretch: Whether to scale the maps to 0..1 before they are divided by their sums.

    Returns:
        (N,) float64 in bits per fixation; NaN for an image without fixations.
    """

    def score(maps: Tensor, counts: Tensor, base: Tensor) -> Tensor:
        listed = positions(counts, repeats=repeats)
        points, under_base = (at_positions(each.flatten(1), listed) for each in (maps, base))
        p, b = (Density.fit(each.flatten(1), stretch=stretch) for each in (maps, base))
        return points.mean(torch.log2(EPS + p(points.values)) - torch.log2(EPS + b(under_base.values)))

    return by_chunks(score, pred, fixations, baseline.expand(len(pred), *baseline.shape[-2:]))
