"""Score a classifier on one split of a data set with classes."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvkit.commands.evaluate.failures import Failures, describe_failure, report_failures
from cvkit.config import EvaluateConfig
from cvkit.config.evaluation import SALIENCY_FIELDS
from cvkit.data.splits import ScoredSplit, choose_scored_split, describe_splits
from cvkit.device import choose_device, describe_device, is_out_of_memory
from cvkit.engine.memory import keep_freed_memory
from cvkit.engine.scores import close_scores
from cvkit.engine.streaming.batch_size import default_batch_size
from cvkit.engine.streaming.resources import torch_threads
from cvkit.engine.streaming.stream import prefetch
from cvkit.errors import DataError, NonFiniteError
from cvkit.files import write_csv, write_json
from cvkit.models.loaded import Request
from cvkit.processes import worker_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.data.reading import ImageReader, stack
from cvkit.tasks.classification.data.source import LabelledImages, LabelledSource, join_images, read_every_split
from cvkit.tasks.classification.evaluation import evaluate_probabilities, metrics_document, report_rows
from cvkit.tasks.classification.loading import LoadedClassifier
from cvkit.tasks.classification.matching import MatchedClasses, match_classes
from cvkit.tasks.classification.scoring import RESULT_COLUMNS, ScoredImages, result_rows, write_reports
from cvkit.tasks.registry import FoundModel, label_classes, open_runner
from cvkit.tasks.saliency.data.layout import read_layout

FILES = ("metrics.json", "results.csv", "report.csv", "confusion.png", "reliability.png", "mistakes.png")


@dataclass(frozen=True)
class ClassifierResult:
    """The scores of a classifier, and the images that could not be scored.

    Attributes:
        model: Name of the model.
        split: Name of the scored split.
        images: Number of images in it.
        failed: Input, kind and message of each failure.
        metrics: Scores of the split, as in ``metrics.json``; None for a score that is undefined.
        classes: Rows of ``report.csv``: the scores of each class of the model.
        out: Folder of the scores; None if none was written.
    """

    model: str
    split: str
    images: int
    failed: Failures
    metrics: Mapping[str, Any]
    classes: list[dict[str, Any]]
    out: Path | None


def evaluate_classifier(
    config: EvaluateConfig, request: Request, model: FoundModel, out: Path | None, report: Reporter
) -> ClassifierResult:
    """Score a classifier on one split of a data set.

    Args:
        config: The settings.
        request: The reference of the model.
        model: The model. It is loaded after the data were found, because its weights may have to be downloaded.
        out: Folder to write; None writes nothing.
        report: Receives progress and notes.

    Raises:
        DataError: If the data have no classes, or classes that the model does not have, or if no image can be scored.
        UsageError: If an option is for saliency maps, or the labels do not match the number of classes.
        WeightsError: If the model cannot be loaded.
    """
    config.reject(SALIENCY_FIELDS, f"{config.model} is a classifier")
    source = _read_data(config)
    scored = choose_scored_split(
        {name: len(images) for name, images in source.splits.items()}, config.split, source.name
    )
    _report_data(source, scored, report)
    images = join_images([source.splits[name] for name in scored.splits])
    loaded = label_classes(model.load(), request)
    matched = match_classes(source.classes, images.labels.tolist(), loaded.facts, source.name)
    images = replace(images, labels=matched.indices[images.labels])
    classifier = open_runner(loaded, config, choose_device(config.device), len(images), report)
    assert isinstance(classifier, Classifier)
    _report_model(images, matched, loaded, report)
    scores, failed = _score(config, classifier, images, report)
    metrics, classes = metrics_document(scores.scores), list(report_rows(scores.scores, matched.labels))
    result = ClassifierResult(loaded.facts.model, scored.name, len(images), failed, metrics, classes, out)
    if out is not None:
        _write(config, result, scores, matched.labels, _describe(loaded, classifier))
    return result


def _read_data(config: EvaluateConfig) -> LabelledSource:
    """Find the images with their classes.

    Raises:
        DataError: If there are none. The message says so if the data are for saliency.
    """
    try:
        read_layout(Path(config.data), (config.split,))
    except DataError:
        return read_every_split(config.data, () if config.split is None else (config.split,))
    raise DataError(
        f"{config.data} has images with maps or fixations, for saliency, but {config.model} is a classifier: name a "
        "data set with class folders, IDX files, or a manifest with the column label."
    )


def _report_data(source: LabelledSource, scored: ScoredSplit, report: Reporter) -> None:
    """Report the splits, how the data were interpreted, and scores that include training images."""
    for remark in source.remarks:
        report(Note(remark, "warning"))
    report(Note(f"splits: {describe_splits(source.counts())}; scored: {scored.name}"))
    if scored.warning:
        report(Note(scored.warning, "warning"))


def _report_model(images: LabelledImages, matched: MatchedClasses, loaded: LoadedClassifier, report: Reporter) -> None:
    """Report the assumptions about the model and its classes."""
    loaded.report_note(report)
    if matched.note:
        report(Note(matched.note, "important"))
    present, own = len(set(images.labels.tolist())), loaded.facts.num_classes
    if present < own:
        report(Note(f"the images are of {present} of the {own} classes of the model"))


def _score(
    config: EvaluateConfig, classifier: Classifier, images: LabelledImages, report: Reporter
) -> tuple[ScoredImages, Failures]:
    """Classify the images, and score those that could be classified.

    Raises:
        DataError: If no image could be classified.
    """
    keep_freed_memory()
    reader = ImageReader(images=images, preprocessing=classifier.preprocessing, max_pixels=config.max_pixels)
    parts: list[Tensor] = []
    failed: dict[int, DataError] = {}
    report(Stage("scoring", len(images)))
    done = 0
    with torch_threads(classifier.torch_threads):
        for batch in _batches(config, reader, config.batch_size or default_batch_size(classifier.device)):
            pixels = {index: outcome for index, outcome in batch if isinstance(outcome, Tensor)}
            failed |= {index: outcome for index, outcome in batch if isinstance(outcome, DataError)}
            if pixels:
                logits = _classify(classifier, stack(list(pixels.values())))
                finite = logits.isfinite().all(1)
                failed |= {index: NonFiniteError() for index, ok in zip(pixels, finite.tolist(), strict=True) if not ok}
                parts.append(logits[finite].softmax(1))
            done += len(batch)
            report(Step(done, {"failed": len(failed)} if failed else {}))
    report(StageEnd())
    failures = [describe_failure(images.names[index], failed[index]) for index in sorted(failed)]
    report_failures(failures, len(images), report)
    usable = np.array([index for index in range(len(images)) if index not in failed], dtype=np.int64)
    data = ClassImages(replace(reader, images=images.subset(usable)))
    probabilities = torch.cat(parts)
    scores = evaluate_probabilities(data.labels, probabilities)
    return ScoredImages(data=data, probabilities=probabilities, scores=scores), failures


def _batches(
    config: EvaluateConfig, reader: ImageReader, batch_size: int
) -> Iterator[list[tuple[int, Tensor | DataError]]]:
    """Yield the pixels of the images with their indices, or the error of reading an image; threads read ahead."""

    def read(index: int) -> tuple[int, Tensor | DataError]:
        try:
            return index, reader(index)
        except DataError as error:
            return index, error

    threads = max(2, worker_count(config.workers))
    outcomes = prefetch(read, range(len(reader.images)), threads=threads, ahead=2 * batch_size + threads)
    while batch := list(itertools.islice(outcomes, batch_size)):
        yield batch


def _classify(classifier: Classifier, pixels: Tensor) -> Tensor:
    """Return the logits of a batch on the processor, computed in halves if memory does not suffice for all of it."""
    try:
        return classifier.logits(pixels).cpu()
    except (RuntimeError, MemoryError) as error:
        if len(pixels) == 1 or not is_out_of_memory(error):
            raise
    # Outside the handler of the error, whose traceback keeps the memory of the failed batch.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(pixels) // 2
    return torch.cat([_classify(classifier, pixels[:middle]), _classify(classifier, pixels[middle:])])


def _describe(loaded: LoadedClassifier, classifier: Classifier) -> dict[str, Any]:
    """Return the facts about the model for the manifest."""
    computed = {"device": describe_device(classifier.device), "precision": classifier.precision}
    return {**loaded.identity, **loaded.details, **computed}


def _write(
    config: EvaluateConfig,
    result: ClassifierResult,
    scored: ScoredImages,
    labels: Sequence[str],
    facts: Mapping[str, Any],
) -> None:
    """Write the scores, the tables and the pictures; the manifest is written last."""
    assert result.out is not None
    write_csv(result.out / "results.csv", RESULT_COLUMNS, result_rows(scored, labels))
    write_reports(result.out, scored, labels, f"{result.model}, {result.split} images of {Path(config.data).name}")
    write_json(result.out / "metrics.json", {result.split: result.metrics})
    settings = config.settings_without(SALIENCY_FIELDS)
    written = [result.out / name for name in FILES]
    close_scores(result.out, "evaluate", settings, written, result.failed, facts)
