"""Areas under the ROC curve of a saliency map as a classifier of fixated pixels, as MIT and Tuebingen define them.

All functions take ``pred`` as (N, H, W) of any scale and ``fixations`` as (N, H, W) integers, the number of fixations
of each pixel. ``others`` holds the fixations of other images, as (N, H, W), or as (H, W) for all images together, from
which the fixations of each image itself are subtracted. Scores are (N,) float64 from 0 to 1: 0.5 for a constant map,
NaN for an image without fixations, without ``others``, or with a value in ``pred`` that is not finite.
"""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import blocks, by_chunks, ends, is_constant, is_finite, unit_range
from cvkit.tasks.saliency.metrics.points import (
    FixatedValues,
    ascending,
    at_fixations,
    count_below,
    count_from,
    positions,
    ranked,
)

STEPS = tuple(0.1 * step for step in range(11))  # thresholds of the sampled areas, as MATLAB computes 0:0.1:1


def auc_judd(pred: Tensor, fixations: Tensor) -> Tensor:
    """Compute AUC-Judd without jitter: thresholds at the fixated values, false positives among the other pixels.

    A pixel fixated several times counts once. The i-th largest fixated value gives the point of the ROC curve
    ((pixels at or above it - i) / (pixels - fixated), i / fixated). Source: AUC_Judd.m of the MIT saliency benchmark.
    """
    return by_chunks(_auc_judd, pred, fixations)


def auc_borji(pred: Tensor, fixations: Tensor) -> Tensor:
    """Compute the limit of AUC-Borji for many random splits, with negatives drawn from all pixels.

    ``pred`` is scaled to 0..1; the thresholds are 0, 0.1 ... 1. The true-positive rates are fixed and the area is
    linear in the false-positive rates, so their expectations give the expected area. Source: AUC_Borji.m of the MIT
    saliency benchmark.
    """

    def score(maps: Tensor, counts: Tensor) -> Tensor:
        rows = maps.flatten(1)
        bounds = ends(rows)
        counted = [count_from(unit_range(block, bounds), STEPS) for (block,) in blocks(rows)]
        false = torch.stack(counted).sum(0).to(torch.float64) / rows.shape[1]
        return _stepped_area(bounds, at_fixations(rows, counts, repeats=False), false)

    return by_chunks(score, pred, fixations)


def auc_shuffled(pred: Tensor, fixations: Tensor, others: Tensor) -> Tensor:
    """Compute the limit of MIT's shuffled AUC, with negatives drawn from pixels fixated on other images.

    ``pred`` is scaled to 0..1; the thresholds are 0, 0.1 ... 1; every pixel of ``others`` counts once. Source:
    AUC_shuffled.m of the MIT saliency benchmark, in expectation as in ``auc_borji``.
    """

    shared = others.dim() == 2

    def score(maps: Tensor, counts: Tensor, negatives: Tensor) -> Tensor:
        rows = maps.flatten(1)
        bounds = ends(rows)
        others_here = at_fixations(rows, negatives.int() - counts.int() if shared else negatives, repeats=False)
        return _stepped_area(bounds, at_fixations(rows, counts, repeats=False), _rates(others_here, bounds))

    return by_chunks(score, pred, fixations, others.expand(len(pred), *others.shape[-2:]))


def auc(pred: Tensor, fixations: Tensor) -> Tensor:
    """Compute the probability that a fixation has a larger value than a random pixel; ties count half.

    Every fixation counts, repeated ones too, against all pixels of the image, including the fixated ones. Source: AUC
    of the MIT/Tuebingen saliency benchmark (pysaliency, uniform non-fixations).
    """

    def score(maps: Tensor, counts: Tensor) -> Tensor:
        rows = ranked(maps)
        ordered = ascending(rows)
        area = _mann_whitney(at_fixations(rows, counts, repeats=True), _everywhere(ordered))
        return _checked(_ends(ordered), area)

    return by_chunks(score, pred, fixations)


def sauc(pred: Tensor, fixations: Tensor, others: Tensor) -> Tensor:
    """Compute the probability that a fixation has a larger value than a fixation of another image; ties count half.

    Repeated fixations count, in ``fixations`` and in ``others``. ``others`` as (H, W) is faster, because all images
    share one list of pixels. Source: shuffled AUC of the MIT/Tuebingen saliency benchmark (pysaliency, shuffled
    non-fixations).
    """
    if others.dim() == 2:
        if others.shape != pred.shape[1:]:
            raise ValueError(f"others are {tuple(others.shape)}, the maps {tuple(pred.shape[1:])}")
        listed = positions(others, repeats=True)
        return by_chunks(lambda maps, counts: _sauc_among(maps, counts, listed.to(maps.device)), pred, fixations)

    def score(maps: Tensor, counts: Tensor, negatives: Tensor) -> Tensor:
        rows = ranked(maps)
        others_here = at_fixations(rows, negatives, repeats=True)
        return _checked(rows, _mann_whitney(at_fixations(rows, counts, repeats=True), others_here.in_order()))

    return by_chunks(score, pred, fixations, others)


def _sauc_among(pred: Tensor, fixations: Tensor, everyone: Tensor) -> Tensor:
    """Compare with the fixations of all images, then subtract the comparisons with the image's own fixations.

    ``everyone`` is (M,) int64, the flat index of the pixel of each fixation on any image.
    """
    rows = ranked(pred)
    own = at_fixations(rows, fixations, repeats=True)
    ordered = ascending(rows.index_select(1, everyone))
    halves = _half_wins(ordered, own.values) - _half_wins(own.in_order().values, own.values)
    return _checked(rows, _win_rate(own, halves, ordered.shape[1] - own.number))


def _auc_judd(pred: Tensor, fixations: Tensor) -> Tensor:
    rows = ranked(pred)
    points = at_fixations(rows, fixations, repeats=False)
    values, ordered = points.in_order().values, ascending(rows)
    fixated = points.number[:, None].to(torch.float64)
    # Values ascend: all fixated pixels reach the value in the first column, and no pixel reaches the padding.
    rank = fixated - torch.arange(values.shape[1], device=rows.device)
    real = rank > 0
    above = rows.shape[1] - count_below(ordered, values)
    rest = rows.shape[1] - fixated
    hit = torch.where(real, rank / fixated, 0.0)
    false = torch.where(real, (above - rank) / rest, 0.0)
    area = _half_if(is_constant(_ends(ordered)), _area(hit, false))
    defined = (fixated > 0) & (rest > 0)
    return _checked(_ends(ordered), torch.where(defined.squeeze(1), area, torch.nan))


def _everywhere(ordered: Tensor) -> FixatedValues:
    """Return every pixel of each ascending row as if it were fixated."""
    return FixatedValues(ordered, torch.full_like(ordered[:, 0], ordered.shape[1], dtype=torch.int64))


def _ends(ordered: Tensor) -> Tensor:
    """Return the first and last value of each ascending row, (N, 2): its minimum, and its maximum or NaN."""
    return ordered[:, [0, -1]]


def _area(hit: Tensor, false: Tensor) -> Tensor:
    """Return the area under ROC points (N, T) in descending order, with (1, 1) and (0, 0) added at the ends."""
    first, last = hit.new_ones((hit.shape[0], 1)), hit.new_zeros((hit.shape[0], 1))
    return -torch.trapezoid(torch.cat((first, hit, last), 1), torch.cat((first, false, last), 1), dim=1)


def _half_if(flat: Tensor, area: Tensor) -> Tensor:
    return torch.where(flat.squeeze(1) & ~area.isnan(), 0.5, area)


def _checked(rows: Tensor, area: Tensor) -> Tensor:
    """Set the score of a map with a value that is not finite to NaN, because ranks do not show such values."""
    return torch.where(is_finite(rows), area, torch.nan)


def _stepped_area(bounds: tuple[Tensor, Tensor], positives: FixatedValues, false: Tensor) -> Tensor:
    """Return the area for the thresholds ``STEPS``, (N,) float64; ``false`` are the false-positive rates at them."""
    area = _area(_rates(positives, bounds), false)
    both = torch.cat(bounds, 1)
    return _checked(both, _half_if(is_constant(both), area))


def _rates(points: FixatedValues, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Return the fraction of values, scaled to 0..1, at or above each of ``STEPS``, (N, 11) float64.

    NaN without any values.
    """
    number = points.number[:, None].to(torch.float64)
    steps = torch.tensor(STEPS, dtype=torch.float64, device=number.device).expand(len(number), -1)
    return (number - count_below(unit_range(points.in_order().values, bounds), steps)) / number


def _mann_whitney(positives: FixatedValues, negatives: FixatedValues) -> Tensor:
    """Return P(positive > negative) + P(equal) / 2 of each row exactly; ``negatives`` must ascend."""
    return _win_rate(positives, _half_wins(negatives.values, positives.values), negatives.number)


def _half_wins(ordered: Tensor, values: Tensor) -> Tensor:
    """Count 2 for each smaller and 1 for each equal value of the ascending row, for (N, F) values, (N, F) int64."""
    return count_below(ordered, values) + count_below(ordered, values, equal=True)


def _win_rate(positives: FixatedValues, halves: Tensor, rivals: Tensor) -> Tensor:
    """Return the sum of the half wins of each row, as a fraction of the largest possible sum, (N,) float64."""
    real = torch.arange(halves.shape[1], device=halves.device) < positives.number[:, None]
    pairs = (positives.number * rivals).to(torch.float64)
    return torch.where(real, halves, 0).sum(1) / (2 * pairs)
