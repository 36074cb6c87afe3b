"""Score a classifier on labelled images, and write the scores with pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvkit.errors import NonFiniteError
from cvkit.files import write_atomic, write_csv
from cvkit.messages import counted
from cvkit.render.confusion import confusion_chart
from cvkit.render.png import encode_png
from cvkit.render.predictions import ClassifiedImage, prediction_sheet
from cvkit.render.reliability import reliability_diagram
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.evaluation import (
    REPORT_COLUMNS,
    ClassificationScores,
    evaluate_probabilities,
    report_rows,
    worst_mistakes,
)
from cvkit.tasks.classification.ranking import ranks_of

MAX_MISTAKES = 24
RESULT_COLUMNS = ("image", "label", "predicted", "probability", "true_probability", "true_rank")  # of results.csv


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredImages:
    """The images of a split with their probabilities and scores.

    Attributes:
        data: The images.
        probabilities: (N, K) float32, probability of each class.
        scores: The scores.
    """

    data: ClassImages
    probabilities: Tensor
    scores: ClassificationScores


def score_images(
    classifier: Classifier, data: ClassImages, batch_size: int, on_progress: Callable[[int], None]
) -> ScoredImages:
    """Classify images without augmentation, and score the probabilities.

    Args:
        classifier: The classifier.
        data: The images.
        batch_size: Images per batch.
        on_progress: Receives the number of images done so far.

    Raises:
        NonFiniteError: If the network returns values that are not finite.
    """
    parts = []
    indices = np.arange(len(data))
    for start in range(0, len(data), batch_size):
        logits = classifier.logits(data.images(indices[start : start + batch_size]))
        if not logits.isfinite().all():
            raise NonFiniteError
        parts.append(logits.softmax(1).cpu())
        on_progress(min(start + batch_size, len(data)))
    probabilities = torch.cat(parts)
    return ScoredImages(
        data=data, probabilities=probabilities, scores=evaluate_probabilities(data.labels, probabilities)
    )


def result_rows(scored: ScoredImages, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield one row per image with the columns ``RESULT_COLUMNS``.

    Args:
        scored: The images with their scores.
        labels: Label of each class.
    """
    scores, probabilities = scored.scores, scored.probabilities
    truth, predicted = torch.from_numpy(scores.truth), torch.from_numpy(scores.predicted)
    columns = (
        truth,
        predicted,
        probabilities.gather(1, predicted[:, None])[:, 0],
        probabilities.gather(1, truth[:, None])[:, 0],
        ranks_of(probabilities, truth),
    )
    for index, (true, top, *values) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        cells = (scored.data.name(index), labels[true], labels[top], *values)
        yield dict(zip(RESULT_COLUMNS, cells, strict=True))


def write_reports(folder: Path, scored: ScoredImages, labels: Sequence[str], title: str) -> None:
    """Write ``report.csv``, ``confusion.png``, ``reliability.png`` and ``mistakes.png`` of a split.

    Args:
        folder: Folder to write.
        scored: The images with their scores.
        labels: Label of each class.
        title: What was scored, for the headings.
    """
    scores = scored.scores
    write_csv(folder / "report.csv", REPORT_COLUMNS, report_rows(scores, labels))
    write_atomic(folder / "confusion.png", confusion_chart(scores.confusion(), labels, title=title))
    write_atomic(folder / "reliability.png", reliability_diagram(scores.bins, ece=scores.ece, title=title))
    mistakes = worst_mistakes(scores, scored.probabilities, MAX_MISTAKES)
    items = [
        ClassifiedImage(
            image=scored.data.reader.original(each.index),
            predicted=each.predicted,
            probability=each.probability,
            true_class=each.true_class,
            true_probability=each.true_probability,
            name=Path(scored.data.name(each.index)).name,
        )
        for each in mistakes
    ]
    wrong = counted(int((scores.truth != scores.predicted).sum()), "mistake")
    heading = f"{title}: {wrong} in {counted(scores.count, 'image')}"
    heading += f", the {len(items)} most confident ones" if len(items) == MAX_MISTAKES else ""
    sheet = prediction_sheet(items, labels, title=heading, empty="every image is classified correctly")
    write_atomic(folder / "mistakes.png", encode_png(sheet))


def sample_indices(images: int, count: int) -> NDArray[np.int64]:
    """Return the indices of at most ``count`` images at equal distances in a data set of ``images``."""
    count = min(count, images)
    return np.array([round(i * (images - 1) / max(1, count - 1)) for i in range(count)], dtype=np.int64)


def sample_sheet(data: ClassImages, indices: NDArray[np.int64], probabilities: Tensor, labels: Sequence[str]) -> bytes:
    """Return a PNG of validation images with their predicted classes.

    Args:
        data: The images.
        indices: (N,) images to draw.
        probabilities: (N, K) float32, probability of each class.
        labels: Label of each class.
    """
    items = [
        ClassifiedImage(
            image=data.reader.original(index),
            predicted=(predicted := int(values.argmax())),
            probability=float(values[predicted]),
            true_class=int(data.labels[index]),
            true_probability=float(values[data.labels[index]]),
            name=Path(data.name(index)).name,
        )
        for index, values in zip(indices.tolist(), probabilities, strict=True)
    ]
    return encode_png(prediction_sheet(items, labels, title="validation images"))
