"""Compute top-1, top-5 and balanced accuracy with confidence intervals."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from cvkit.intervals import Proportion, proportion


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """The accuracy on the images of one class.

    Attributes:
        class_index: Index of the class.
        top1: Fraction of the images whose most likely class is this one, with its Wilson interval.
        top5: Fraction of the images with this class among the five most likely ones.
        often: Class most often predicted instead, the smaller index of several; None if no prediction is wrong.
    """

    class_index: int
    top1: Proportion
    top5: Proportion
    often: int | None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The accuracy on a set of images. Higher is better.

    Attributes:
        top1: Fraction of the images whose most likely class is the true one, with its Wilson interval.
        top5: Fraction of the images with the true class among the five most likely ones.
        balanced: Mean top-1 accuracy of the classes that occur, each with the same weight, 0..1; NaN without images.
        classes: Accuracy of each class that occurs, by class index.
    """

    top1: Proportion
    top5: Proportion
    balanced: float
    classes: tuple[ClassAccuracy, ...]


def accuracy(truth: Sequence[int], ranks: Sequence[int], predicted: Sequence[int]) -> Accuracy:
    """Compute the accuracy on N images.

    Args:
        truth: True class of each image, length N.
        ranks: Rank of the true class of each image, from 1; see ``ranking.ranks_of``.
        predicted: Most likely class of each image.

    Returns:
        The accuracy on all images and on the images of each class.

    Raises:
        ValueError: If the lengths differ or a rank is below 1.
    """
    if not len(truth) == len(ranks) == len(predicted):
        raise ValueError(f"lengths differ: {len(truth)} classes, {len(ranks)} ranks, {len(predicted)} predictions")
    if any(rank < 1 for rank in ranks):
        raise ValueError(f"ranks count from 1, not from {min(ranks)}")
    ranks_by_class: dict[int, list[int]] = defaultdict(list)
    predicted_instead: dict[int, Counter[int]] = defaultdict(Counter)
    for true, rank, prediction in zip(truth, ranks, predicted, strict=True):
        ranks_by_class[true].append(rank)
        # The prediction may come from a sort that orders equal logits differently, so the rank decides.
        if rank > 1 and prediction != true:
            predicted_instead[true][prediction] += 1
    classes = tuple(
        ClassAccuracy(
            class_index=true,
            top1=_accuracy_at(own, 1),
            top5=_accuracy_at(own, 5),
            often=_most_common(predicted_instead[true]),
        )
        for true, own in sorted(ranks_by_class.items())
    )
    balanced = fmean(one.top1.value for one in classes) if classes else math.nan
    return Accuracy(top1=_accuracy_at(ranks, 1), top5=_accuracy_at(ranks, 5), balanced=balanced, classes=classes)


def _accuracy_at(ranks: Sequence[int], k: int) -> Proportion:
    return proportion(sum(rank <= k for rank in ranks), len(ranks))


def _most_common(counts: Counter[int]) -> int | None:
    return min(counts, key=lambda index: (-counts[index], index), default=None)
