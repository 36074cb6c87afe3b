"""Test that two processes train as one does, stop together, and notice the end of each other."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from cvkit.engine import checkpoint

from .two_processes import BATCH_SIZE, Regression, train

ROOT = Path(__file__).parents[3]


def run_two(out: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.engine.training.two_processes", str(out), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with runs of two processes."""
    out = tmp_path_factory.mktemp("two")
    ended = run_two(out, "whole")
    assert ended.returncode == 0, ended.stderr
    return out


def state(run: Path) -> dict[str, Tensor]:
    content = checkpoint.load(run / "last.pt", "training-state")
    return {**content["model"], **{f"average.{name}": value for name, value in content["average"].items()}}


def scores(run: Path) -> list[dict[str, float]]:
    timing = ("seconds", "images_per_second", "busy")
    with (run / "history.csv").open() as stream:
        return [{k: float(v) for k, v in row.items() if k not in timing} for row in csv.DictReader(stream)]


def test_two_processes_train_to_the_weights_and_scores_of_one(folder: Path, tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    train(tmp_path / "one", Regression(norm=False), fabric, batch_size=2 * BATCH_SIZE)
    one, two = state(tmp_path / "one"), state(folder / "plain")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
    for row, other in zip(scores(tmp_path / "one"), scores(folder / "plain"), strict=True):
        assert other == pytest.approx(row, rel=1e-5)


def test_two_processes_with_batch_norm_stop_together_and_resume_bit_identical(folder: Path) -> None:
    assert (folder / "stopped-main").exists() and (folder / "stopped-other").exists()
    whole, parts = state(folder / "norm"), state(folder / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert scores(folder / "norm") == scores(folder / "parts")


def test_a_process_that_ends_takes_the_others_down_with_a_message(tmp_path: Path) -> None:
    ended = run_two(tmp_path, "lost")
    assert ended.returncode != 0
    assert "lost the connection to another process" in (tmp_path / "message").read_text()
