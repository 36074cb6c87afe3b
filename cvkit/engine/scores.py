"""Compute the means of a table of scores with intervals, and write the tables to a folder."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cvkit import files
from cvkit.engine.locks import sole_writer
from cvkit.engine.result_folder import claim_folder, close_result, read_manifest, write_failures
from cvkit.intervals import MeanInterval, mean_interval

SUMMARIES = ("summary.json", "metrics.json")  # of saliency maps and of classifiers
# Files that an evaluation writes, among them those of earlier evaluations of something else.
SCORE_FILES = (
    *SUMMARIES,
    "scores.csv",
    "scores-*.csv",
    "results.csv",
    "report.csv",
    "confusion.png",
    "reliability.png",
    "mistakes.png",
)


@dataclass
class ScoreTable:
    """The scores of one source of maps: one row per image with ``image`` and one float per column, NaN if undefined."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def means(self, columns: Sequence[str]) -> dict[str, MeanInterval]:
        """Return the mean of each column over the images where it is defined, with its 95 % confidence interval."""
        return {
            name: mean_interval(torch.tensor([row[name] for row in self.rows], dtype=torch.float64)) for name in columns
        }


@contextmanager
def open_scores(out: str | None, command: str, *, overwrite: bool) -> Iterator[Path | None]:
    """Create the folder that scores are written to, and keep other processes from writing it.

    Scores that a killed process left unfinished are replaced.

    Args:
        out: The folder, or None to write no scores.
        command: Name of the command.
        overwrite: Whether finished scores that the folder holds may be replaced.

    Raises:
        OutputError: If the folder holds other files, or finished scores without ``overwrite``, or if another process
            is writing it.
    """
    if out is None:
        yield None
        return
    folder = Path(out)
    _claim(folder, command, overwrite)
    with sole_writer(folder):
        _claim(folder, command, overwrite)  # the process that held the folder may have finished its scores
        close_result(folder, command, {}, [], {})  # a manifest without files marks the folder as begun
        yield folder


def _claim(folder: Path, command: str, overwrite: bool) -> None:
    manifest = read_manifest(folder) if folder.is_dir() else {}
    ours = manifest.get("command") == command
    recorded = any((folder / name).is_file() for name in SUMMARIES)
    finished = recorded and not (ours and not manifest.get("files"))
    own = "scores" if ours or (finished and not manifest) else None  # scores of earlier versions have no manifest
    claim_folder(folder, own, reuse=overwrite or not finished, remedy="--overwrite")


def write_scores(
    folder: Path,
    command: str,
    tables: Mapping[str, ScoreTable],
    columns: Sequence[str],
    failed: Sequence[Mapping[str, str]],
    head: Mapping[str, Any],
) -> None:
    """Write ``scores.csv`` (the first table), ``scores-NAME.csv`` (the others), ``failures.csv`` and ``summary.json``.

    The manifest is written last, and names them. An undefined score is an empty cell.

    Args:
        folder: The folder.
        command: Name of the command.
        tables: The scores by source of maps.
        columns: The scores to write.
        failed: Rows of ``failures.csv``.
        head: Further entries of the summary, among them the settings.
    """
    written = []
    for position, (name, table) in enumerate(tables.items()):
        rows = [{column: _or_none(value) for column, value in row.items()} for row in table.rows]
        written.append(folder / ("scores.csv" if position == 0 else f"scores-{name.replace(' ', '-')}.csv"))
        files.write_csv(written[-1], ["image", *columns], rows)
    means = {
        name: {column: _interval(interval) for column, interval in table.means(columns).items()}
        for name, table in tables.items()
    }
    files.write_json(folder / "summary.json", {**head, "failed": len(failed), "scores": means})
    close_scores(folder, command, head["settings"], [*written, folder / "summary.json"], failed)


def close_scores(
    folder: Path,
    command: str,
    settings: Mapping[str, Any],
    written: Sequence[Path],
    failed: Sequence[Mapping[str, str]],
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write ``failures.csv`` and the manifest of a folder of scores, and remove the files of an earlier evaluation.

    Args:
        folder: The folder.
        command: Name of the command.
        settings: The settings that the scores depend on.
        written: The files of this evaluation.
        failed: Rows of ``failures.csv``.
        facts: Further entries of the manifest.
    """
    for path in {path for pattern in SCORE_FILES for path in folder.glob(pattern)} - set(written):
        path.unlink()
    write_failures(folder, failed)
    close_result(folder, command, settings, written, facts or {})


def _interval(interval: MeanInterval) -> dict[str, float | int | None]:
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {**{name: _or_none(value) for name, value in ends.items()}, "n": interval.n}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
