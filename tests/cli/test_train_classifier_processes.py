"""Check ``cvkit train-classifier`` in two processes: one run, a common stop, and a resumed run like a whole one."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cvkit.engine import checkpoint

from .test_resume import assert_same, without_times

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs signals")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# The backbone is frozen at first, in which DDP gets no gradients, and classes are balanced.
WORDS = ("--recipe", "transfer", "--unfreeze-at", "2", "--lr", "0.01", "--balance", "sampler", "--batch-size", "4")


def command(data: Path, *words: str) -> list[str]:
    network = ("--model", "timm:test_resnet", "--weights", "none", "--input-size", "32", "--device", "cpu")
    base = (sys.executable, "-m", "cvkit", "train-classifier", "--data", str(data), *network, *WORDS)
    return [*base, "--workers", "0", "--samples", "2", "--devices", "2", *words]


def finish(words: list[str]) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_two_processes_train_one_model_and_one_scores_it(pets: Path, tmp_path: Path) -> None:
    ended = finish(command(pets, "--epochs", "3", "--test", "--out", "r", "--json"))
    document = json.loads(ended.stdout)
    assert document["images"] == {"train": 20, "val": 8, "test": 8}
    assert ended.stderr.count("images per class") == 1
    with (tmp_path / "r/history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [3, 6, 9]  # ten images for each process, in batches of four
    metrics = json.loads((tmp_path / "r/metrics.json").read_text())
    assert max(float(row["val_accuracy"]) for row in rows) == pytest.approx(metrics["val"]["accuracy"])


def test_two_processes_stop_together_and_resume_bit_identical(pets: Path, tmp_path: Path) -> None:
    words = command(pets, "--epochs", "12", "--out")
    process = subprocess.Popen([*words, "parts"], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    while not (tmp_path / "parts/best.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # to one of the two
    _, said = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert "Traceback" not in said and said.count("stopped by a signal") == 1
    finish([*words, "whole"])
    finish([*words, "parts", "--resume"])
    states = [
        without_times(checkpoint.load(tmp_path / name / "last.pt", "training-state")) for name in ("whole", "parts")
    ]
    assert_same(*states)
    for name in ("metrics.json", "report.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_mistake_ends_both_processes_with_one_message(pets: Path, tmp_path: Path) -> None:
    for words, said in ((("--freeze", "layr4"), "Did you mean 'layer4'"), (("--split", "80/20"), "leave --split out")):
        ended = subprocess.run(
            command(pets, *words, "--out", "r"),
            capture_output=True,
            text=True,
            timeout=300,
            env=ENVIRONMENT,
            check=False,
        )
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.count("error: ") == 1 and said in ended.stderr and "Traceback" not in ended.stderr
        assert not (tmp_path / "r").exists()
