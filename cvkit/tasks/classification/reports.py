"""Write the results of a classification in further formats, and its accuracy, from the rows of all images."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cvkit import files
from cvkit.engine.parquet import write_parquet
from cvkit.engine.streaming.tables import Rows
from cvkit.tasks.classification.columns import CLASS_COLUMNS, TRUE_CLASS, TRUE_RANK
from cvkit.tasks.classification.metrics import Accuracy, ClassAccuracy, accuracy

ClassNames = Callable[[int], Mapping[str, Any]]  # returns class_index, class_id and label of a class

TYPES = ("string", "int32", "int32", "string", "string", "float64")  # of CLASS_COLUMNS, in Parquet files
PER_CLASS = ("class_index", "class_id", "label", "images", "top1", "top1_low", "top1_high", "top5", "often")
PER_CLASS_FILE = "per_class.csv"


@dataclass(frozen=True, kw_only=True)
class ClassReports:
    """The reports to write.

    Attributes:
        format: ``csv``, ``json`` or ``parquet``; ``results.csv`` exists in any case.
        truth: Source of the true classes; None writes no accuracy.
        per_class: Whether to write the accuracy of each class.
    """

    format: str
    truth: str | None
    per_class: bool


def write_class_reports(folder: Path, rows: Rows, reports: ClassReports, names: ClassNames) -> None:
    """Write the rows of ``results.csv`` in another format as well, and the accuracy.

    Args:
        folder: The result folder. Reports of an earlier run that are not selected are removed.
        rows: Returns an iterator over the rows of all images.
        reports: The reports to write.
        names: Returns the columns that name a class.
    """
    plain = ({name: row[name] for name in CLASS_COLUMNS} for row in rows())
    if reports.format == "json":
        _write_json(folder / "results.json", plain)
    elif reports.format == "parquet":
        write_parquet(folder / "results.parquet", dict(zip(CLASS_COLUMNS, TYPES, strict=True)), plain)
    has_truth = reports.truth is not None
    kept = {f"results.{reports.format}", "accuracy.json" * has_truth, PER_CLASS_FILE * reports.per_class}
    for name in {"results.json", "results.parquet", "accuracy.json", PER_CLASS_FILE} - kept:
        (folder / name).unlink(missing_ok=True)
    if not has_truth:
        return
    scores, unjudged = score(rows())
    document: dict[str, Any] = {"truth": reports.truth, "unjudged": unjudged, "balanced": _or_none(scores.balanced)}
    for name, proportion in (("top1", scores.top1), ("top5", scores.top5)):
        document[name] = {part: _or_none(value) for part, value in asdict(proportion).items()}
    files.write_json(folder / "accuracy.json", document)
    if reports.per_class:
        files.write_csv(folder / PER_CLASS_FILE, PER_CLASS, (_class_row(each, names) for each in scores.classes))


def score(rows: Iterable[dict[str, Any]]) -> tuple[Accuracy, int]:
    """Return the accuracy over the images with a true class, and the number of the other images."""
    firsts = [(row.get(TRUE_CLASS), row.get(TRUE_RANK), row["class_index"]) for row in rows if row["rank"] == 1]
    judged = [first for first in firsts if first[0] is not None]
    true, ranks, predicted = zip(*judged, strict=True) if judged else ((), (), ())
    return accuracy(true, ranks, predicted), len(firsts) - len(judged)


def _class_row(scores: ClassAccuracy, names: ClassNames) -> dict[str, Any]:
    row = dict(names(scores.class_index)) | {"images": scores.top1.n, "top5": scores.top5.value}
    row |= {"top1": scores.top1.value, "top1_low": scores.top1.low, "top1_high": scores.top1.high}
    return row | {"often": "" if scores.often is None else names(scores.often)["label"] or scores.often}


def _write_json(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with files.atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for index, row in enumerate(rows):
            stream.write((",\n " if index else "\n ") + json.dumps(row))
        stream.write("\n]\n")


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
