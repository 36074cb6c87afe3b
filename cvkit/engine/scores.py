"""Compute the means of a table of scores with intervals, and write the tables to a folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cvkit import files
from cvkit.engine.result_folder import claim_folder, write_failures
from cvkit.intervals import MeanInterval, mean_interval


@dataclass
class ScoreTable:
    """The scores of one source of maps: one row per image with ``image`` and one float per column, NaN if undefined."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def means(self, columns: Sequence[str]) -> dict[str, MeanInterval]:
        """Return the mean of each column over the images where it is defined, with its 95 % confidence interval."""
        return {
            name: mean_interval(torch.tensor([row[name] for row in self.rows], dtype=torch.float64)) for name in columns
        }


def open_scores(out: str | None, *, overwrite: bool) -> Path | None:
    """Create the folder that scores are written to.

    Args:
        out: The folder, or None to write no scores.
        overwrite: Whether scores that the folder holds may be replaced.

    Raises:
        OutputError: If the folder holds other files, or scores without ``overwrite``.
    """
    if out is None:
        return None
    folder = Path(out)
    own = "scores" if (folder / "summary.json").is_file() else None
    claim_folder(folder, own, reuse=overwrite, remedy="--overwrite")
    return folder


def write_scores(
    folder: Path,
    tables: Mapping[str, ScoreTable],
    columns: Sequence[str],
    failed: Sequence[Mapping[str, str]],
    head: Mapping[str, Any],
) -> None:
    """Write ``scores.csv`` (the first table), ``scores-NAME.csv`` (the others), ``failures.csv`` and ``summary.json``.

    An undefined score is an empty cell.

    Args:
        folder: The folder.
        tables: The scores by source of maps.
        columns: The scores to write.
        failed: Rows of ``failures.csv``.
        head: Further entries of the summary.
    """
    for position, (name, table) in enumerate(tables.items()):
        rows = [{column: _or_none(value) for column, value in row.items()} for row in table.rows]
        file_name = "scores.csv" if position == 0 else f"scores-{name.replace(' ', '-')}.csv"
        files.write_csv(folder / file_name, ["image", *columns], rows)
    write_failures(folder, failed)
    means = {
        name: {column: _interval(interval) for column, interval in table.means(columns).items()}
        for name, table in tables.items()
    }
    files.write_json(folder / "summary.json", {**head, "failed": len(failed), "scores": means})


def _interval(interval: MeanInterval) -> dict[str, float | int | None]:
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {**{name: _or_none(value) for name, value in ends.items()}, "n": interval.n}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
