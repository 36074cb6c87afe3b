"""Name what is in every image."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvkit import device as machine
from cvkit import files
from cvkit.config import ClassifyConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.engine.parquet import need_parquet, write_parquet
from cvkit.engine.streaming.batch import Batch, BatchResult, find_inputs, inputs_of_shard, run_batch
from cvkit.engine.streaming.ledger import Rows
from cvkit.engine.streaming.notes import read_rows
from cvkit.engine.streaming.stream import Stages, Written
from cvkit.errors import DataError, UsageError
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.columns import CLASS_COLUMNS
from cvkit.tasks.classification.metrics import Accuracy, ClassAccuracy, accuracy
from cvkit.tasks.classification.ranking import ranks_of, top_classes
from cvkit.tasks.classification.truth import Truth, read_truth

KINDS = ("string", "int32", "int32", "string", "string", "float64")
# What else the ledger keeps of an image, for the accuracy; no columns of results.csv.
TRUE_CLASS, TRUE_RANK = "true_index", "true_rank"
PER_CLASS = ("class_index", "class_id", "label", "images", "top1", "top1_low", "top1_high", "top5", "often")


@dataclass(frozen=True)
class ClassifyResult:
    """The batch's counts, and the accuracy where truth is given.

    ``unjudged`` is the number of images that the truth says nothing of.
    """

    batch: BatchResult
    accuracy: Accuracy | None
    unjudged: int
    inputs: Sequence[files.Input] = field(repr=False)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``results.csv`` of this command's inputs, in their order; read from the folder."""
        for row in read_rows(self.batch.folder, self.inputs):
            yield {name: row[name] for name in CLASS_COLUMNS}


@dataclass(frozen=True)
class _Photo:
    pixels: Tensor
    true_class: int | None


@dataclass(frozen=True)
class _Answer:
    classes: list[int]
    probabilities: list[float]
    true_rank: int | None


def classify(config: ClassifyConfig, listen: Reporter = ignore, stdin: Iterable[str] | None = None) -> ClassifyResult:
    """Send every input through a classifier and write its most likely classes into the result folder.

    Raises DataError when no input is found or the truth cannot be read, UsageError for an unknown model, WeightsError
    for weights that cannot be had or do not fit, OutputError for a folder that holds something else or a full disk, and
    StoppedBySignal after a drain. A bad image is a row of ``failures.csv``.
    """
    inputs = find_inputs(config, stdin)
    if config.format == "parquet":
        need_parquet()
    loaded = loading.load(config.model, config.weights, config.labels, lambda text: listen(Note(text)))
    share = machine.share_out(config)
    classifier, precision = loading.open_on(loaded, config.precision, share.device)
    count = loaded.facts.num_classes
    if config.top > count and config.top != ClassifyConfig.top:  # the default means all where there are fewer
        raise UsageError(f"--top {config.top}: {config.model} has {count} classes.")
    truth = _truth(config, classifier, inputs, listen)
    if loaded.note:
        listen(Note(loaded.note))
    batch = Batch(
        command="classify",
        folder=Path(config.folder),
        identity=loaded.identity | {"precision": precision, "top": config.top, "truth": _fingerprint(config.truth)},
        columns=CLASS_COLUMNS,
        details=loaded.details,
        report=lambda rows: _report(config, rows, classifier),
    )
    result = run_batch(config, batch, inputs, _stages(config, classifier, truth), share, listen)
    judged, unjudged = None, 0
    if truth is not None and machine.is_main_process():
        judged, unjudged = _judge(read_rows(result.folder, inputs))
    return ClassifyResult(result, judged, unjudged, inputs_of_shard(config, inputs))


def _fingerprint(truth: str | None) -> str | None:
    """Return what the truth of a result folder is told from others by: its name, and of a file the sha256."""
    known = truth is not None and Path(truth).is_file()
    return f"{truth} (sha256 {files.sha256(Path(truth))[:12]})" if known else truth  # type: ignore[arg-type]


def _truth(config: ClassifyConfig, classifier: Classifier, inputs: list[files.Input], listen: Reporter) -> Truth | None:
    """Read the true classes, and look every input up before any work: what is unclear is told now."""
    if config.truth is None:
        return None
    facts = classifier.facts
    truth = read_truth(config.truth, facts.labels, facts.class_ids, facts.num_classes)
    unknown = [item.name for item in inputs if truth.class_of(item) is None]
    if len(unknown) == len(inputs):
        raise DataError(f"--truth {config.truth} says nothing of any image, such as {unknown[0]}: compare the names.")
    if unknown:
        listen(Note(f"the truth says nothing of {len(unknown)} images, such as {unknown[0]}", level="warning"))
    return truth


def _stages(config: ClassifyConfig, classifier: Classifier, truth: Truth | None) -> Stages[_Photo, _Answer]:
    def read(item: files.Input) -> _Photo:
        pixels, _ = fit_crop(read_image(item.path, config.max_pixels), classifier.preprocessing)
        return _Photo(pixels, truth.class_of(item) if truth else None)

    def infer(batch: list[_Photo]) -> list[_Answer]:
        logits = classifier.logits(torch.stack([photo.pixels for photo in batch]))
        order = top_classes(logits, config.top)
        probabilities = logits.softmax(1).gather(1, order).tolist()
        known = [0 if photo.true_class is None else photo.true_class for photo in batch]
        ranks = ranks_of(logits, torch.tensor(known, device=logits.device)).tolist()
        return [
            _Answer(classes, shares, None if photo.true_class is None else rank)
            for photo, classes, shares, rank in zip(batch, order.tolist(), probabilities, ranks, strict=True)
        ]

    def write(item: files.Input, photo: _Photo, answer: _Answer) -> Written:
        rows = [
            {"image": item.name, "rank": place, **classifier.name_class(index), "probability": share}
            for place, (index, share) in enumerate(zip(answer.classes, answer.probabilities, strict=True), start=1)
        ]
        if photo.true_class is not None:
            rows[0] |= {TRUE_CLASS: photo.true_class, TRUE_RANK: answer.true_rank}
        return Written(rows, [])

    return Stages(read=read, infer=infer, write=write)


def _judge(rows: Iterable[dict[str, Any]]) -> tuple[Accuracy, int]:
    """Return the accuracy over the images whose true class is known, and the number of the others."""
    firsts = [(row.get(TRUE_CLASS), row.get(TRUE_RANK), row["class_index"]) for row in rows if row["rank"] == 1]
    judged = [first for first in firsts if first[0] is not None]
    true, ranks, predicted = zip(*judged, strict=True) if judged else ((), (), ())
    return accuracy(true, ranks, predicted), len(firsts) - len(judged)


def _report(config: ClassifyConfig, rows: Rows, classifier: Classifier) -> None:
    """Write, beside ``results.csv``, the same rows in another format, and the accuracy."""
    folder = Path(config.folder)
    plain = ({name: row[name] for name in CLASS_COLUMNS} for row in rows())
    if config.format == "json":
        _write_json(folder / "results.json", plain)
    elif config.format == "parquet":
        write_parquet(folder / "results.parquet", dict(zip(CLASS_COLUMNS, KINDS, strict=True)), plain)
    kept = {f"results.{config.format}", "accuracy.json" if config.truth else "", "per_class.csv" * config.per_class}
    for name in {"results.json", "results.parquet", "accuracy.json", "per_class.csv"} - kept:
        (folder / name).unlink(missing_ok=True)  # of an earlier run with fewer images
    if config.truth is None:
        return
    found, unjudged = _judge(rows())
    document: dict[str, Any] = {"truth": config.truth, "unjudged": unjudged, "balanced": _or_none(found.balanced)}
    for name, share in (("top1", found.top1), ("top5", found.top5)):
        document[name] = {part: _or_none(value) for part, value in asdict(share).items()}
    files.write_json(folder / "accuracy.json", document)
    if config.per_class:
        files.write_csv(folder / "per_class.csv", PER_CLASS, (_class_row(one, classifier) for one in found.classes))


def _class_row(one: ClassAccuracy, classifier: Classifier) -> dict[str, Any]:
    row = classifier.name_class(one.class_index) | {"images": one.top1.n, "top5": one.top5.value}
    row |= {"top1": one.top1.value, "top1_low": one.top1.low, "top1_high": one.top1.high}
    return row | {"often": "" if one.often is None else classifier.label(one.often) or one.often}


def _write_json(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with files.atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for place, row in enumerate(rows):
            stream.write((",\n " if place else "\n ") + json.dumps(row))
        stream.write("\n]\n")


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
