"""Test that the scores equal those of the reference code of the benchmarks, on real fixations."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.tasks.saliency.metrics.protocols import PROTOCOLS, ScoreInputs

pytestmark = pytest.mark.shared
SAMPLED = {"auc_borji": 0.003, "auc_shuffled": 0.003}


def read_map(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).astype(np.float64))


def reference_rows(folder: Path) -> Iterator[list[dict[str, str]]]:
    """Yield the reference rows of two images at a time, which limits the memory of the test."""
    with (folder / "reference.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    for start in range(0, len(rows), 4):
        yield rows[start : start + 4]


def stack(rows: list[dict[str, str]], pattern: str, folder: Path) -> torch.Tensor:
    return torch.stack([read_map(folder / pattern.format(**row)) for row in rows])


def worst_by_column(scores: dict[str, torch.Tensor], rows: list[dict[str, str]]) -> dict[str, float]:
    columns = [name for name in rows[0] if name not in ("image", "map")]
    return {
        name: float((scores[name] - torch.tensor([float(row[name]) for row in rows], dtype=torch.float64)).abs().max())
        for name in columns
    }


def test_mit_protocol_equals_the_matlab_code(shared: Path) -> None:
    folder = shared / "reference" / "saliency-metrics-mit"
    baseline = read_map(folder / "baseline.png")
    columns = [name for name in PROTOCOLS["mit"].columns if name != "emd"]
    for rows in reference_rows(folder):
        inputs = ScoreInputs(
            pred=stack(rows, "maps/{image}-{map}.png", folder),
            target=stack(rows, "gt/{image}.png", folder),
            fixations=stack(rows, "fixmaps/{image}.png", folder).gt(0).int(),
            others=stack(rows, "othermaps/{image}.png", folder).gt(0).int(),
            baseline=baseline,
        )
        for name, worst in worst_by_column(PROTOCOLS["mit"].score(inputs, columns), rows).items():
            assert worst <= SAMPLED.get(name, 1e-6), (name, worst)


def test_tuebingen_protocol_equals_pysaliency(shared: Path) -> None:
    folder = shared / "reference" / "saliency-metrics-tuebingen"
    maps = shared / "reference" / "saliency-metrics-mit"
    counts: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(600, 800, dtype=torch.int32))
    with (folder / "fixations.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            counts[row["image"]][int(row["y"]), int(row["x"])] += 1
    total = torch.stack(list(counts.values())).sum(0)
    columns = [name for name in PROTOCOLS["tuebingen"].columns if name != "ig"]
    for rows in reference_rows(folder):
        fixations = torch.stack([counts[row["image"]] for row in rows])
        inputs = ScoreInputs(
            pred=stack(rows, "maps/{image}-{map}.png", maps),
            target=stack(rows, "gt/{image}.png", maps),
            fixations=fixations,
            others=total - fixations,
        )
        for name, worst in worst_by_column(PROTOCOLS["tuebingen"].score(inputs, columns), rows).items():
            assert worst <= 1e-6, (name, worst)
