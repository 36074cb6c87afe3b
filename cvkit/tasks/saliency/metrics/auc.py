"""Areas under the ROC curve of a saliency map as a classifier of fixated pixels: MIT's three, and Tuebingen's two.

``fixations`` and ``others`` are (N, H, W) integer: how often each pixel was fixated on this image, and on other images.
``others`` may also be (H, W): the fixations of all images together; each image's own are then taken out again.
A score is (N,) float64 in 0..1: 0.5 for a constant map, NaN for an image without fixations (or without others, where
these are asked for) or with a value that is not finite.
"""

import torch
from torch import Tensor

from cvkit.tasks.saliency.metrics.maps import by_chunks, constant, finite, pixels, unit_range
from cvkit.tasks.saliency.metrics.points import Points, ascending, at_fixations, count_below, positions, ranked


def auc_judd(pred: Tensor, fixations: Tensor) -> Tensor:
    """Return AUC-Judd without jitter: thresholds at the fixated values, false positives among the other pixels.

    ``pred`` is (N, H, W), any scale. A pixel fixated several times counts once. The i-th largest fixated value gives
    the point ((pixels at or above it - i) / (pixels - fixated), i / fixated). Source: AUC_Judd.m of the MIT saliency
    benchmark.
    """
    return by_chunks(_auc_judd, pred, fixations)


def auc_borji(pred: Tensor, fixations: Tensor) -> Tensor:
    """Return the value that AUC-Borji tends to with many random splits: negatives drawn from all pixels.

    ``pred`` is (N, H, W), any scale, stretched to 0..1; thresholds are 0, 0.1 ... 1. The true-positive rates are
    fixed and the area is linear in the false-positive rates, so their expectations give the expected area. Source:
    AUC_Borji.m of the MIT saliency benchmark.
    """

    def score(maps: Tensor, counts: Tensor) -> Tensor:
        rows = unit_range(pixels(maps))
        return _stepped_area(rows, at_fixations(rows, counts, repeats=False), _everywhere(ascending(rows)))

    return by_chunks(score, pred, fixations)


def auc_shuffled(pred: Tensor, fixations: Tensor, others: Tensor) -> Tensor:
    """Return the value that MIT's shuffled AUC tends to: negatives drawn from pixels fixated on other images.

    ``pred`` is (N, H, W), any scale, stretched to 0..1; thresholds are 0, 0.1 ... 1; every pixel of ``others`` counts
    once. Source: AUC_shuffled.m of the MIT saliency benchmark, in expectation as in ``auc_borji``.
    """

    shared = others.dim() == 2

    def score(maps: Tensor, counts: Tensor, negatives: Tensor) -> Tensor:
        rows = unit_range(pixels(maps))
        others_here = at_fixations(rows, negatives.int() - counts.int() if shared else negatives, repeats=False)
        return _stepped_area(rows, at_fixations(rows, counts, repeats=False), others_here.in_order())

    return by_chunks(score, pred, fixations, others.expand(len(pred), *others.shape[-2:]))


def auc(pred: Tensor, fixations: Tensor) -> Tensor:
    """Return the probability that a fixation has a larger value than a random pixel, ties counting half.

    ``pred`` is (N, H, W), any scale. Every fixation counts, repeats too, against all pixels of the image (the fixated
    ones are among them). Source: AUC of the MIT/Tuebingen saliency benchmark (pysaliency, uniform non-fixations).
    """

    def score(maps: Tensor, counts: Tensor) -> Tensor:
        rows = ranked(maps)
        ordered = ascending(rows)
        area = _mann_whitney(at_fixations(rows, counts, repeats=True), _everywhere(ordered))
        return _checked(_ends(ordered), area)

    return by_chunks(score, pred, fixations)


def sauc(pred: Tensor, fixations: Tensor, others: Tensor) -> Tensor:
    """Return the probability that a fixation has a larger value than a fixation of another image, ties counting half.

    ``pred`` is (N, H, W), any scale. Repeats count, in ``fixations`` and in ``others``. ``others`` as (H, W) is the
    quicker way, one list of pixels serving all images. Source: shuffled AUC of the MIT/Tuebingen saliency benchmark
    (pysaliency, shuffled non-fixations).
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
    """Score against everyone's fixations, then take out the wins against the image's own, which are among them.

    ``everyone`` is (M,) int64, the flat pixel of each fixation on any image.
    """
    rows = ranked(pred)
    own = at_fixations(rows, fixations, repeats=True)
    ordered = ascending(rows.index_select(1, everyone))
    halves = _half_wins(ordered, own.values) - _half_wins(own.in_order().values, own.values)
    return _checked(rows, _share(own, halves, ordered.shape[1] - own.number))


def _auc_judd(pred: Tensor, fixations: Tensor) -> Tensor:
    rows = ranked(pred)
    points = at_fixations(rows, fixations, repeats=False)
    values, ordered = points.in_order().values, ascending(rows)
    fixated = points.number[:, None].to(torch.float64)
    # Ascending: the first column has the smallest value, which all fixated pixels reach; no pixel reaches the padding.
    rank = fixated - torch.arange(values.shape[1], device=rows.device)
    real = rank > 0
    above = rows.shape[1] - count_below(ordered, values)
    rest = rows.shape[1] - fixated
    hit = torch.where(real, rank / fixated, 0.0)
    false = torch.where(real, (above - rank) / rest, 0.0)
    area = _half_if(constant(_ends(ordered)), _area(hit, false))
    defined = (fixated > 0) & (rest > 0)
    return _checked(_ends(ordered), torch.where(defined.squeeze(1), area, torch.nan))


def _everywhere(ordered: Tensor) -> Points:
    """Return every pixel of each ascending row as a point."""
    return Points(ordered, torch.full_like(ordered[:, 0], ordered.shape[1], dtype=torch.int64))


def _ends(ordered: Tensor) -> Tensor:
    """Return the first and last value of each ascending row, (N, 2): they tell what a scan of the row would."""
    return ordered[:, [0, -1]]


def _area(hit: Tensor, false: Tensor) -> Tensor:
    """Return the area under ROC points (N, T) given in falling order, closed by (1, 1) and (0, 0)."""
    first, last = hit.new_ones((hit.shape[0], 1)), hit.new_zeros((hit.shape[0], 1))
    return -torch.trapezoid(torch.cat((first, hit, last), 1), torch.cat((first, false, last), 1), dim=1)


def _half_if(flat: Tensor, area: Tensor) -> Tensor:
    return torch.where(flat.squeeze(1) & ~area.isnan(), 0.5, area)


def _checked(rows: Tensor, area: Tensor) -> Tensor:
    """Make undefined the score of a map with a value that is not finite: ranks alone would hide it."""
    return torch.where(finite(rows), area, torch.nan)


def _stepped_area(rows: Tensor, positives: Points, negatives: Points) -> Tensor:
    """Return the area for the thresholds 0, 0.1 ... 1, as MATLAB computes 0:0.1:1, (N,) float64.

    ``negatives`` must be in order.
    """
    steps = torch.arange(11, device=rows.device, dtype=torch.float64) * 0.1
    steps = steps.expand(rows.shape[0], 11)
    area = _area(_rates(positives.in_order(), steps), _rates(negatives, steps))
    return _checked(rows, _half_if(constant(rows), area))


def _rates(points: Points, steps: Tensor) -> Tensor:
    """Return the share of the ordered points at or above each threshold, (N, T) float64; NaN without any points."""
    number = points.number[:, None].to(torch.float64)
    return (number - count_below(points.values, steps)) / number


def _mann_whitney(positives: Points, negatives: Points) -> Tensor:
    """Return P(positive > negative) + P(equal) / 2 per row, exact; ``negatives`` must be in order."""
    return _share(positives, _half_wins(negatives.values, positives.values), negatives.number)


def _half_wins(ordered: Tensor, values: Tensor) -> Tensor:
    """Count, for each of (N, F) values, 2 per smaller and 1 per equal value of an ascending row, (N, F) int64."""
    return count_below(ordered, values) + count_below(ordered, values, equal=True)


def _share(positives: Points, halves: Tensor, rivals: Tensor) -> Tensor:
    real = torch.arange(halves.shape[1], device=halves.device) < positives.number[:, None]
    pairs = (positives.number * rivals).to(torch.float64)
    return torch.where(real, halves, 0).sum(1) / (2 * pairs)
