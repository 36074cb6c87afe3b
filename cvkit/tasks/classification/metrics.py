"""How often a classifier is right: the rank of the true class, top-1 and top-5 accuracy, their intervals."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from cvkit.intervals import Proportion, proportion


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """The accuracy on the images of one class.

    ``often`` is the class most often predicted instead (the smaller index where two are even), None when never wrong.
    """

    class_index: int
    top1: Proportion
    top5: Proportion
    often: int | None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The accuracy on all images, and on those of each class that occurs, in the order of their indices.

    ``balanced`` is the mean of the classes' top-1 accuracies, so that each counts alike; NaN when there are no images.
    """

    top1: Proportion
    top5: Proportion
    balanced: float
    classes: tuple[ClassAccuracy, ...]


def accuracy(truth: Sequence[int], ranks: Sequence[int], predicted: Sequence[int]) -> Accuracy:
    """Return the accuracy over N images.

    ``truth`` holds their true classes, ``ranks`` the rank of the true class (from 1), ``predicted`` the class ranked
    first. Raises ValueError for lengths that differ and a rank below 1.
    """
    if not len(truth) == len(ranks) == len(predicted):
        raise ValueError(f"lengths differ: {len(truth)} classes, {len(ranks)} ranks, {len(predicted)} predictions")
    if any(rank < 1 for rank in ranks):
        raise ValueError(f"ranks count from 1, not from {min(ranks)}")
    ranks_in: dict[int, list[int]] = defaultdict(list)
    instead: dict[int, Counter[int]] = defaultdict(Counter)
    for true, rank, guess in zip(truth, ranks, predicted, strict=True):
        ranks_in[true].append(rank)
        # Logits that tie can put another class first elsewhere: the rank decides what is wrong.
        if rank > 1 and guess != true:
            instead[true][guess] += 1
    classes = tuple(
        ClassAccuracy(class_index=true, top1=_top(own, 1), top5=_top(own, 5), often=_most(instead[true]))
        for true, own in sorted(ranks_in.items())
    )
    balanced = fmean(one.top1.value for one in classes) if classes else math.nan
    return Accuracy(top1=_top(ranks, 1), top5=_top(ranks, 5), balanced=balanced, classes=classes)


def ranks_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the rank (from 1) of each image's class among its logits, (N,) int64.

    ``logits`` is (N, C) float, ``classes`` (N,) int64. Classes of equal logits rank by their index, the smaller first.
    Raises ValueError for shapes that do not fit, a class outside 0..C-1 and NaN among the logits.
    """
    if logits.dim() != 2 or classes.shape != logits.shape[:1]:
        raise ValueError(f"need logits (N, C) and classes (N,), not {tuple(logits.shape)} and {tuple(classes.shape)}")
    count = logits.shape[1]
    own_index = classes.to(logits.device)[:, None]
    if ((own_index < 0) | (own_index >= count)).any():
        raise ValueError(f"classes must lie in 0..{count - 1}")
    undefined = logits.isnan().any(1)
    if undefined.any():
        raise ValueError(f"the logits of image {int(undefined.nonzero()[0])} have NaN, which has no rank")
    own = logits.gather(1, own_index)
    earlier = torch.arange(count, device=logits.device) < own_index
    return ((logits > own) | ((logits == own) & earlier)).sum(1) + 1


def _top(ranks: Sequence[int], k: int) -> Proportion:
    return proportion(sum(rank <= k for rank in ranks), len(ranks))


def _most(counts: Counter[int]) -> int | None:
    return min(counts, key=lambda index: (-counts[index], index), default=None)
