"""Classify every image."""

import json
import math
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
from cvkit.engine.parquet import need_parquet, write_parquet
from cvkit.engine.streaming.batch import BatchJob, BatchResult, command_inputs, inputs_of_shard, run_batch
from cvkit.engine.streaming.ledger import Rows
from cvkit.engine.streaming.records import read_rows
from cvkit.engine.streaming.stream import Stages, WriteResult
from cvkit.errors import DataError, NonFiniteError, UsageError
from cvkit.inputs import Input
from cvkit.models.loaded import Request
from cvkit.processes import is_main_process
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.columns import CLASS_COLUMNS
from cvkit.tasks.classification.metrics import Accuracy, ClassAccuracy, accuracy
from cvkit.tasks.classification.ranking import ranks_of, top_classes
from cvkit.tasks.classification.truth import Truth, read_truth
from cvkit.tasks.registry import load_classifier

TYPES = ("string", "int32", "int32", "string", "string", "float64")  # of CLASS_COLUMNS, in Parquet files
# Kept in the ledger for the accuracy; these are no columns of results.csv.
TRUE_CLASS, TRUE_RANK = "true_index", "true_rank"
PER_CLASS = ("class_index", "class_id", "label", "images", "top1", "top1_low", "top1_high", "top5", "often")


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
        for row in read_rows(self.batch.folder, self.inputs):
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
    classifier = loaded.to(process.device, config.precision)
    _check_top(config, loaded.facts.num_classes)
    truth = _read_truth(config, classifier, inputs, report)
    loaded.report_note(report)
    settings = {"precision": classifier.precision, "top": config.top, "truth": _fingerprint(config.truth)}
    batch = BatchJob(
        command="classify",
        folder=Path(config.folder),
        identity=loaded.identity | settings,
        columns=CLASS_COLUMNS,
        details=loaded.details,
        write_reports=lambda rows: _write_reports(config, rows, classifier),
    )
    result = run_batch(config, batch, inputs, _stages(config, classifier, truth), process, report)
    scores, unjudged = None, 0
    if truth is not None and is_main_process():
        scores, unjudged = _score(read_rows(result.folder, inputs))
    return ClassifyResult(result, scores, unjudged, inputs_of_shard(config, inputs))


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
        report(Note(f"--truth has no class for {len(unknown)} images, such as {unknown[0]}", level="warning"))
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


def _score(rows: Iterable[dict[str, Any]]) -> tuple[Accuracy, int]:
    """Return the accuracy over the images with a true class, and the number of the other images."""
    firsts = [(row.get(TRUE_CLASS), row.get(TRUE_RANK), row["class_index"]) for row in rows if row["rank"] == 1]
    judged = [first for first in firsts if first[0] is not None]
    true, ranks, predicted = zip(*judged, strict=True) if judged else ((), (), ())
    return accuracy(true, ranks, predicted), len(firsts) - len(judged)


def _write_reports(config: ClassifyConfig, rows: Rows, classifier: Classifier) -> None:
    """Write the rows of ``results.csv`` in another format as well, and the accuracy."""
    folder = Path(config.folder)
    plain = ({name: row[name] for name in CLASS_COLUMNS} for row in rows())
    if config.format == "json":
        _write_json(folder / "results.json", plain)
    elif config.format == "parquet":
        write_parquet(folder / "results.parquet", dict(zip(CLASS_COLUMNS, TYPES, strict=True)), plain)
    kept = {f"results.{config.format}", "accuracy.json" if config.truth else "", "per_class.csv" * config.per_class}
    for name in {"results.json", "results.parquet", "accuracy.json", "per_class.csv"} - kept:
        (folder / name).unlink(missing_ok=True)  # of an earlier run with fewer images
    if config.truth is None:
        return
    scores, unjudged = _score(rows())
    document: dict[str, Any] = {"truth": config.truth, "unjudged": unjudged, "balanced": _or_none(scores.balanced)}
    for name, proportion in (("top1", scores.top1), ("top5", scores.top5)):
        document[name] = {part: _or_none(value) for part, value in asdict(proportion).items()}
    files.write_json(folder / "accuracy.json", document)
    if config.per_class:
        files.write_csv(folder / "per_class.csv", PER_CLASS, (_class_row(each, classifier) for each in scores.classes))


def _class_row(scores: ClassAccuracy, classifier: Classifier) -> dict[str, Any]:
    row = classifier.name_class(scores.class_index) | {"images": scores.top1.n, "top5": scores.top5.value}
    row |= {"top1": scores.top1.value, "top1_low": scores.top1.low, "top1_high": scores.top1.high}
    return row | {"often": "" if scores.often is None else classifier.label(scores.often) or scores.often}


def _write_json(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with files.atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for index, row in enumerate(rows):
            stream.write((",\n " if index else "\n ") + json.dumps(row))
        stream.write("\n]\n")


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
