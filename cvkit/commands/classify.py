"""Classify every image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvkit import files
from cvkit.config import ClassifyConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.engine.distributed import assign_process
from cvkit.engine.parquet import need_parquet
from cvkit.engine.streaming.batch import BatchJob, BatchResult, command_inputs, inputs_of_shard, run_batch
from cvkit.engine.streaming.stream import Stages, WriteResult
from cvkit.errors import DataError, NonFiniteError, UsageError
from cvkit.inputs import Input
from cvkit.messages import counted
from cvkit.models.loaded import Request
from cvkit.processes import is_main_process
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.columns import CLASS_COLUMNS, TRUE_CLASS, TRUE_RANK
from cvkit.tasks.classification.loading import LoadedClassifier
from cvkit.tasks.classification.metrics import Accuracy
from cvkit.tasks.classification.ranking import ranks_of, top_classes
from cvkit.tasks.classification.reports import ClassReports, score, write_class_reports
from cvkit.tasks.classification.truth import Truth, read_truth
from cvkit.tasks.registry import load_classifier, open_runner


@dataclass(frozen=True)
class ClassifyResult:
    """The counts of the batch, and the accuracy if the true classes are given.

    Attributes:
        batch: Counts, folder and speed.
        accuracy: Accuracy over the images whose true class is known; None without ``--truth``.
        unjudged: Number of images without a true class.
        inputs: The inputs of this job.
    """

    batch: BatchResult
    accuracy: Accuracy | None
    unjudged: int
    inputs: Sequence[Input] = field(repr=False)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``results.csv`` for the inputs of this job, in their order, read from the folder."""
        for row in self.batch.rows(self.inputs):
            yield {name: row[name] for name in CLASS_COLUMNS}


@dataclass(frozen=True)
class _LoadedImage:
    pixels: Tensor
    true_class: int | None


@dataclass(frozen=True)
class _Prediction:
    classes: list[int]
    probabilities: list[float]
    true_rank: int | None


def classify(config: ClassifyConfig, report: Reporter = ignore, stdin: Iterable[str] | None = None) -> ClassifyResult:
    """Send every input through a classifier, and write its most likely classes into the result folder.

    A bad image becomes a row of ``failures.csv``.

    Args:
        config: The settings.
        report: Receives progress events.
        stdin: Lines of the list that ``-`` stands for; None reads standard input.

    Raises:
        DataError: If an input is not found, or the true classes cannot be read.
        UsageError: If the model is unknown.
        WeightsError: If the weights are not available or do not fit.
        OutputError: If the result folder holds other files, or the disk is full.
        StoppedBySignal: If a signal stopped the command after saving.
    """
    inputs = command_inputs(config, stdin)
    if config.format == "parquet":
        need_parquet()
    loaded = load_classifier(Request.for_classifier(config, report))
    process = assign_process(config)
    _check_top(config, loaded.facts.num_classes)
    classifier = open_runner(loaded, config, process.device, len(inputs), report)
    assert isinstance(classifier, Classifier)
    truth = _read_truth(config, classifier, inputs, report)
    loaded.report_note(report)
    batch = _batch(config, loaded, classifier)
    result = run_batch(config, batch, inputs, _stages(config, classifier, truth), process, report)
    scores, unjudged = None, 0
    if truth is not None and is_main_process():
        scores, unjudged = score(result.rows(inputs))
    return ClassifyResult(result, scores, unjudged, inputs_of_shard(config, inputs))


def _batch(config: ClassifyConfig, loaded: LoadedClassifier, classifier: Classifier) -> BatchJob:
    settings = {"precision": classifier.precision, "top": config.top, "truth": _fingerprint(config.truth)}
    folder = Path(config.folder)
    reports = ClassReports(format=config.format, truth=config.truth, per_class=config.per_class)
    return BatchJob(
        command="classify",
        folder=folder,
        identity=loaded.identity | settings,
        columns=CLASS_COLUMNS,
        details=loaded.details | {"reports": asdict(reports)},
        write_reports=lambda rows: write_class_reports(folder, rows, reports, classifier.name_class),
        torch_threads=classifier.torch_threads,
    )


def _check_top(config: ClassifyConfig, num_classes: int) -> None:
    """Refuse more classes than the model has; only the default is cut to their number."""
    if config.top > num_classes and config.top != ClassifyConfig.top:
        raise UsageError(f"--top {config.top}: {config.model} has {num_classes} classes.")


def _fingerprint(truth: str | None) -> str | None:
    """Return what distinguishes the true classes of result folders: the option's value, and the SHA-256 of a file."""
    if truth is None or not Path(truth).is_file():
        return truth
    return f"{truth} (sha256 {files.sha256(Path(truth))[:12]})"


def _read_truth(config: ClassifyConfig, classifier: Classifier, inputs: list[Input], report: Reporter) -> Truth | None:
    """Read the true classes and look up every input, so that problems show before any work."""
    if config.truth is None:
        return None
    facts = classifier.facts
    truth = read_truth(config.truth, facts.labels, facts.class_ids, facts.num_classes)
    unknown = [item.name for item in inputs if truth.class_of(item) is None]
    if len(unknown) == len(inputs):
        raise DataError(f"--truth {config.truth} names none of the images, such as {unknown[0]}.")
    if unknown:
        report(
            Note(f"--truth has no class for {counted(len(unknown), 'image')}, such as {unknown[0]}", level="warning")
        )
    return truth


def _stages(
    config: ClassifyConfig, classifier: Classifier, truth: Truth | None
) -> Stages[_LoadedImage, _Prediction | None]:
    def read(item: Input) -> _LoadedImage:
        pixels, _ = fit_crop(read_image(item.path, config.max_pixels), classifier.preprocessing)
        return _LoadedImage(pixels, truth.class_of(item) if truth else None)

    def infer(batch: list[_LoadedImage]) -> list[_Prediction | None]:
        logits = classifier.logits(torch.stack([image.pixels for image in batch]))
        finite = logits.isfinite().all(1)
        logits = logits.where(finite[:, None], 0.0)  # a NaN has no rank
        order = top_classes(logits, config.top)
        probabilities = logits.softmax(1).gather(1, order).tolist()
        true = [0 if image.true_class is None else image.true_class for image in batch]
        ranks = ranks_of(logits, torch.tensor(true, device=logits.device)).tolist()
        rows = zip(batch, finite.tolist(), order.tolist(), probabilities, ranks, strict=True)
        return [
            _Prediction(classes, values, None if image.true_class is None else rank) if is_finite else None
            for image, is_finite, classes, values, rank in rows
        ]

    def write(item: Input, image: _LoadedImage, prediction: _Prediction | None) -> WriteResult:
        if prediction is None:
            raise NonFiniteError
        ranked = zip(prediction.classes, prediction.probabilities, strict=True)
        rows = [
            {"image": item.name, "rank": rank, **classifier.name_class(index), "probability": probability}
            for rank, (index, probability) in enumerate(ranked, start=1)
        ]
        if image.true_class is not None:
            rows[0] |= {TRUE_CLASS: image.true_class, TRUE_RANK: prediction.true_rank}
        return WriteResult(rows, [])

    return Stages(read=read, infer=infer, write=write)
