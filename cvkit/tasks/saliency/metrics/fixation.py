"""Metrics that read a predicted saliency map at the fixated pixels: NSS and information gain.

``fixations`` is (N, H, W) integer: how often each pixel was fixated. A score is (N,) float64, NaN for an image without
fixations.
"""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import EPS, by_chunks, constant, density, pixels
from cvkit.tasks.saliency.metrics.points import at_fixations


def nss(pred: Tensor, fixations: Tensor, *, repeats: bool = False, correction: int = 1) -> Tensor:
    """Return the mean over fixations of the map in units of its own standard deviation; 0 for a constant map.

    ``pred`` is (N, H, W), any scale. ``repeats`` counts a pixel as often as it was fixated; ``correction`` is what the
    standard deviation subtracts from the number of pixels. MIT (NSS.m): False and 1; Tuebingen: True and 0.
    Source: Peters et al. 2005.
    """

    def score(maps: Tensor, counts: Tensor) -> Tensor:
        rows = pixels(maps)
        points = at_fixations(rows, counts, repeats=repeats)
        std, mean = torch.std_mean(rows, dim=1, keepdim=True, correction=correction)
        flat = constant(rows)
        z = (points.values - mean) / torch.where(flat, torch.ones_like(std), std)
        return points.mean(torch.where(flat, torch.zeros_like(z), z))

    return by_chunks(score, pred, fixations)


def information_gain(
    pred: Tensor, fixations: Tensor, baseline: Tensor, *, repeats: bool = False, stretch: bool = True
) -> Tensor:
    """Return how many bits a fixation is more likely under the map than under the baseline, on average.

    ``pred`` is (N, H, W), ``baseline`` (N, H, W) or (H, W), any scale; both are made densities, a constant one
    uniform. ``repeats`` counts a pixel as often as it was fixated; ``stretch`` brings the maps to 0..1 before they
    are divided by their sums. MIT (InfoGain.m): False and True; Tuebingen: True and False. Source: Kuemmerer et al.
    2015.
    """

    def score(maps: Tensor, counts: Tensor, base: Tensor) -> Tensor:
        points = at_fixations(density(pixels(maps), stretch=stretch), counts, repeats=repeats)
        under_base = at_fixations(density(pixels(base), stretch=stretch), counts, repeats=repeats)
        return points.mean(torch.log2(EPS + points.values) - torch.log2(EPS + under_base.values))

    return by_chunks(score, pred, fixations, baseline.expand(len(pred), *baseline.shape[-2:]))
