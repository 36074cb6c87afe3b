"""Score the class probabilities of a classifier: accuracy, calibration, and precision, recall and F1 per class."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvkit.intervals import Proportion, proportion
from cvkit.render.reliability import ReliabilityBin
from cvkit.tasks.classification.ranking import ranks_of

CALIBRATION_BINS = 15  # of Guo et al. 2017
# A probability of 0 for the true class would make the log loss infinite. scikit-learn clips at the same value.
MIN_PROBABILITY = float(np.finfo(np.float64).eps)
SUM_TOLERANCE = 0.01  # of the probabilities of an image, which a softmax in bfloat16 rounds
REPORT_COLUMNS = ("class_index", "label", "precision", "recall", "f1", "count")  # of report.csv


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The scores of one class, each in 0..1 and NaN where its denominator is 0. Higher is better.

    Attributes:
        class_index: Index of the class.
        precision: Fraction of the images predicted as this class that belong to it; NaN if there are none.
        recall: Fraction of the images of this class that are predicted as it; NaN if there are none.
        f1: Twice the correct predictions by the sum of both numbers of images; NaN if both are 0.
        count: Number of images of this class.
    """

    class_index: int
    precision: float
    recall: float
    f1: float
    count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassificationScores:
    """The scores of a classifier on a set of images. Without images, all of them are NaN.

    Attributes:
        accuracy: Fraction of the images whose most likely class is the true one, with its 95 % Wilson interval.
        top5_accuracy: Fraction of the images with the true class among the five most likely ones; NaN for five classes
            or fewer, among which it always is.
        ece: Expected calibration error, 0..1, lower is better.
        macro_f1: Mean F1 of the classes that occur as a true or a predicted class, each with the same weight, 0..1.
        log_loss: Mean negative logarithm of the probability of the true class, in nats, lower is better.
        classes: Scores of every class, by index.
        bins: Reliability bins in the order of confidence; empty ones are included.
        truth: (N,) int64, true class of each image.
        predicted: (N,) int64, most likely class of each image.
    """

    accuracy: Proportion
    top5_accuracy: float
    ece: float
    macro_f1: float
    log_loss: float
    classes: tuple[ClassScores, ...]
    bins: tuple[ReliabilityBin, ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def count(self) -> int:
        """The number of images."""
        return self.accuracy.n

    def confusion(self) -> NDArray[np.int64]:
        """Return the confusion matrix, (K, K) int64: the number of images by true class (row) and predicted class.

        It has 8 MB for 1,000 classes and 3.8 GB for the 21,841 classes of ImageNet-22k, so it is not kept.
        """
        size = len(self.classes)
        return np.bincount(self.truth * size + self.predicted, minlength=size * size).reshape(size, size)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An image that is assigned to a wrong class.

    Attributes:
        index: Position of the image.
        true_class: Index of its true class.
        predicted: Index of its most likely class.
        probability: Probability of the predicted class.
        true_probability: Probability of the true class.
    """

    index: int
    true_class: int
    predicted: int
    probability: float
    true_probability: float


def evaluate_probabilities(truth: Tensor, probabilities: Tensor) -> ClassificationScores:
    """Score the class probabilities of N images.

    Of classes with equal probabilities, the one of the smaller index ranks first, as in ``ranking.top_classes``.

    Args:
        truth: True class of each image, (N,) int64 in 0..K-1.
        probabilities: Probability of each class, (N, K) float, each row with the sum 1.

    Returns:
        The scores. The expected calibration error is that of ``calibration_error``.

    Raises:
        ValueError: If the shapes do not fit, a class is out of range, or a row of ``probabilities`` is no distribution.
    """
    truth, probabilities = truth.detach().cpu().long(), _on_host(probabilities)
    _check(truth, probabilities)
    count, num_classes = probabilities.shape
    ranks = ranks_of(probabilities, truth)
    # The argmax of numpy returns the first of equal values; that of torch returns any of them.
    predicted = probabilities.numpy().argmax(axis=1)
    own = probabilities.gather(1, truth[:, None])[:, 0].double().clamp(min=MIN_PROBABILITY)
    classes = _class_scores(truth.numpy(), predicted, num_classes)
    occurring = [each.f1 for each in classes if not math.isnan(each.f1)]
    bins = reliability_bins(probabilities.amax(1), ranks == 1)
    return ClassificationScores(
        accuracy=proportion(int((ranks == 1).sum()), count),
        top5_accuracy=proportion(int((ranks <= 5).sum()), count).value if num_classes > 5 else math.nan,
        ece=calibration_error(bins),
        macro_f1=sum(occurring) / len(occurring) if occurring else math.nan,
        log_loss=-float(own.log().mean()),
        classes=classes,
        bins=bins,
        truth=truth.numpy(),
        predicted=predicted,
    )


def reliability_bins(confidence: Tensor, correct: Tensor, bins: int = CALIBRATION_BINS) -> tuple[ReliabilityBin, ...]:
    """Sort predictions into bins of equal width by their confidence (Guo et al. 2017, section 2).

    Bin m of M holds the confidences in the interval ((m - 1) / M, m / M]: a confidence on a border belongs to the lower
    bin. The first bin also holds 0, and the last one also holds values that rounding raised above 1.

    Args:
        confidence: Probability of the predicted class, (N,) float in 0..1.
        correct: Whether the predicted class is the true one, (N,) bool.
        bins: Number of bins M.

    Returns:
        The bins in the order of confidence, the empty ones included.
    """
    borders = np.arange(bins + 1) / bins
    values = confidence.double().numpy()
    positions = np.searchsorted(borders[1:-1], values, side="left")
    counts = np.bincount(positions, minlength=bins)
    hits = np.bincount(positions, weights=correct.double().numpy(), minlength=bins).astype(int)
    sums = np.bincount(positions, weights=values, minlength=bins)
    return tuple(
        ReliabilityBin(
            low=float(borders[m]),
            high=float(borders[m + 1]),
            count=int(counts[m]),
            confidence=float(sums[m] / counts[m]) if counts[m] else math.nan,
            accuracy=(own := proportion(int(hits[m]), int(counts[m]))).value,
            accuracy_low=own.low,
            accuracy_high=own.high,
        )
        for m in range(bins)
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Compute the expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 5).

    It is the mean distance between accuracy and mean confidence over the bins, weighted by their numbers of images.

    Args:
        bins: Reliability bins; empty ones are ignored.

    Returns:
        The error, 0..1, or NaN without images.
    """
    filled = [each for each in bins if each.count]
    total = sum(each.count for each in filled)
    return sum(each.count * abs(each.accuracy - each.confidence) for each in filled) / total if total else math.nan


def worst_mistakes(scores: ClassificationScores, probabilities: Tensor, limit: int) -> list[Mistake]:
    """Return the mistakes with the most probable wrong class, the worst first.

    Of equal probabilities, the lower one of the true class precedes, then the earlier image.

    Args:
        scores: The scores of ``probabilities``.
        probabilities: Probability of each class, (N, K) float, as given to ``evaluate_probabilities``.
        limit: Largest number of mistakes to return.
    """
    wrong = torch.from_numpy(np.flatnonzero(scores.truth != scores.predicted))
    true, predicted = (torch.from_numpy(classes)[wrong] for classes in (scores.truth, scores.predicted))
    values = _on_host(probabilities)
    columns = (wrong, true, predicted, values[wrong, predicted], values[wrong, true])
    mistakes = [
        Mistake(
            index=index, true_class=own, predicted=other, probability=probability, true_probability=true_probability
        )
        for index, own, other, probability, true_probability in zip(*(each.tolist() for each in columns), strict=True)
    ]
    return sorted(mistakes, key=lambda each: (-each.probability, each.true_probability, each.index))[:limit]


def metrics_document(scores: ClassificationScores) -> dict[str, Any]:
    """Return the scores of one split as plain values for ``metrics.json``; a score that is NaN becomes None."""
    interval = [_or_none(scores.accuracy.low), _or_none(scores.accuracy.high)]
    return {
        "accuracy": _or_none(scores.accuracy.value),
        "top5_accuracy": _or_none(scores.top5_accuracy),
        "ci95": None if None in interval else interval,
        "ece": _or_none(scores.ece),
        "macro_f1": _or_none(scores.macro_f1),
        "log_loss": _or_none(scores.log_loss),
        "images": scores.count,
    }


def report_rows(scores: ClassificationScores, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``report.csv`` with the columns ``REPORT_COLUMNS``; a score that is NaN becomes None.

    Args:
        scores: Scores of K classes.
        labels: Label of each class; empty if unknown.
    """
    for each in scores.classes:
        row = {"class_index": each.class_index, "label": labels[each.class_index] if labels else ""}
        row |= {name: _or_none(getattr(each, name)) for name in ("precision", "recall", "f1")}
        yield row | {"count": each.count}


def _class_scores(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> tuple[ClassScores, ...]:
    images = np.bincount(truth, minlength=num_classes)
    predictions = np.bincount(predicted, minlength=num_classes)
    hits = np.bincount(truth[truth == predicted], minlength=num_classes)
    return tuple(
        ClassScores(
            class_index=index,
            precision=_ratio(hit, assigned),
            recall=_ratio(hit, own),
            f1=_ratio(2 * hit, own + assigned),
            count=own,
        )
        for index, (own, assigned, hit) in enumerate(
            zip(images.tolist(), predictions.tolist(), hits.tolist(), strict=True)
        )
    )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan


def _on_host(probabilities: Tensor) -> Tensor:
    """Return the values on the CPU with float32 at least: numpy has no bfloat16."""
    return probabilities.detach().to("cpu", torch.promote_types(probabilities.dtype, torch.float32))


def _check(truth: Tensor, probabilities: Tensor) -> None:
    if probabilities.dim() != 2 or truth.shape != probabilities.shape[:1] or probabilities.shape[1] == 0:
        shapes = f"{tuple(truth.shape)} and {tuple(probabilities.shape)}"
        raise ValueError(f"need true classes (N,) and probabilities (N, K) with K >= 1, not {shapes}")
    # NaN makes each comparison false.
    sums = probabilities.sum(1, dtype=torch.float64)
    valid = ((sums - 1).abs() <= SUM_TOLERANCE) & (probabilities >= 0).all(1)
    if not valid.all():
        image = int((~valid).nonzero()[0])
        raise ValueError(f"the probabilities of image {image} are no distribution: their sum is {float(sums[image])}")


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
