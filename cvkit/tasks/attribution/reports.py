"""Summarise the faithfulness scores of many heat maps."""

import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from cvkit import files
from cvkit.engine.streaming.tables import Rows
from cvkit.intervals import MeanInterval, mean_interval
from cvkit.tasks.attribution.faithfulness import Faithfulness

SCORES = tuple(field.name for field in fields(Faithfulness))


def mean_scores(rows: Iterable[dict[str, Any]]) -> dict[str, MeanInterval]:
    """Return the mean of each faithfulness score over rows of ``results.csv``, with its 95 % confidence interval."""
    scores = torch.tensor([[row[name] for name in SCORES] for row in rows], dtype=torch.float64).view(-1, len(SCORES))
    return {name: mean_interval(scores[:, index]) for index, name in enumerate(SCORES)}


def write_mean_scores(folder: Path, rows: Rows) -> None:
    """Write ``faithfulness.json``: the mean scores over all rows of a result folder."""
    plain = {
        name: {part: None if math.isnan(value) else value for part, value in asdict(mean).items()}
        for name, mean in mean_scores(rows()).items()
    }
    files.write_json(folder / "faithfulness.json", plain)
