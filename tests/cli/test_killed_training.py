"""Kill training runs with SIGKILL again and again, and compare them with uninterrupted ones."""

import csv
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cvkit.cli.resume import TRAINING_COMMANDS
from cvkit.engine import checkpoint

from .forks import Forks
from .test_resume import assert_same, without_times

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")]
KILLS = 25
TEMPORARY = ".cvkit-*.tmp"
TIMES = ("seconds", "images_per_second", "busy")  # columns of history.csv that differ from run to run
COMMON = ("--device", "cpu", "--save-every", "1step", "--ema", 0.5, "--quiet")
# The options of each training command for a run of a few hundred steps, with workers, augmentation and noise.
OPTIONS: dict[str, tuple[object, ...]] = {
    "train-saliency": (
        *("--backbone", "timm:mobilenetv3_small_050", "--weights", "none", "--size", "32x48", "--samples", 1),
        *("--epochs", 20, "--batch-size", 2, "--augment", "full", "--workers", 2),
    ),
    "train-classifier": (
        *("--model", "timm:test_resnet", "--weights", "none", "--input-size", "32", "--samples", 1, "--workers", 2),
        *("--recipe", "modern", "--freeze", "backbone", "--unfreeze-at", 8, "--unfreeze-from", "layer3"),
        *("--epochs", 20, "--batch-size", 9, "--balance", "sampler", "--test"),
    ),
    "cae-embed": (
        *("--widths", "4,8", "--epochs", 30, "--batch-size", 16, "--compare", "none", "--workers", 2),
        *("--denoise", "--dropout", 0.2, "--batch-norm", "--best-metric", "loss"),
    ),
}


@pytest.fixture(scope="module")
def displays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen training and four validation displays."""
    from cvkit.commands.sample_data import sample_fixations
    from cvkit.config import SampleFixationsConfig

    folder = tmp_path_factory.mktemp("data") / "displays"
    sample_fixations(SampleFixationsConfig(out=str(folder), train=16, val=4, size=(96, 128)))
    return folder


def kill_at_random(process: int, folder: Path, rng: random.Random) -> bool:
    """Kill a run at a random time, after some checkpoints, or while it writes a file. Return whether it was writing."""
    moment = rng.choice(("time", "checkpoints", "writing", "writing"))
    checkpoints, seen, last = rng.randint(1, 5), 0, stamp_of(folder)
    until = time.monotonic() + (rng.uniform(0, 2) if moment == "time" else 300)
    while time.monotonic() < until and seen < checkpoints:
        time.sleep(0 if moment == "writing" else 0.001)
        stamp = stamp_of(folder)
        seen, last = seen + (moment != "time" and stamp != last), stamp
    while moment == "writing" and time.monotonic() < until and not any(folder.glob(TEMPORARY)):
        time.sleep(0)
    time.sleep(rng.uniform(0, 0.003 if moment == "writing" else 0.05))
    os.kill(process, signal.SIGKILL)
    return any(folder.glob(TEMPORARY))


def stamp_of(folder: Path) -> int:
    try:
        return (folder / "last.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def history_of(folder: str) -> list[dict[str, str]]:
    with Path(folder, "history.csv").open(newline="") as stream:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(stream)]


def best_of(folder: str) -> dict[str, Any]:
    path = Path(folder, "best.pt")
    return {name: checkpoint.load(path, "saliency", "classifier", "autoencoder")[name] for name in ("weights", "epoch")}


def names_in(folder: str) -> set[Path]:
    paths = (path.relative_to(folder) for path in Path(folder).rglob("*"))
    return {path for path in paths if "tfevents" not in path.name}


def test_each_training_command_is_killed() -> None:
    assert OPTIONS.keys() == TRAINING_COMMANDS.keys()


@pytest.mark.parametrize("command", TRAINING_COMMANDS)
def test_a_run_killed_25_times_ends_bit_identical(command: str, displays: Path, digits: Path, tmp_path: Path) -> None:
    data = displays if command == "train-saliency" else digits
    words = [command, "--data", data, *OPTIONS[command], *COMMON]
    rng, writing = random.Random(0), 0
    with Forks(tmp_path / "log") as forks:
        forks.start([*words, "--out", "whole"])
        assert forks.wait() == 0, Path("log").read_text()
        for _ in range(KILLS):  # one command line for the first start and for every other
            process = forks.start([*words, "--out", "parts", "--resume"])
            writing += kill_at_random(process, Path("parts"), rng)
            assert forks.wait() == -signal.SIGKILL, Path("log").read_text()
        state = checkpoint.load(Path("parts/last.pt"), "training-state")["state"]
        forks.start(["resume", "parts"])
        assert forks.wait() == 0, Path("log").read_text()
    sys.stdout.write(f"{KILLS} kills, {writing} while a file was written, the last in epoch {state['epoch'] + 1}\n")
    assert writing
    states = [without_times(checkpoint.load(Path(name, "last.pt"), "training-state")) for name in ("whole", "parts")]
    assert_same(*states)
    assert_same(best_of("whole"), best_of("parts"))
    assert history_of("whole") == history_of("parts") != []
    assert not list(Path("parts").rglob(TEMPORARY))
    assert names_in("whole") == names_in("parts")
    for name in ("embeddings.csv", "metrics.json", "report.csv", "splits.csv"):
        assert Path("whole", name).is_file() == Path("parts", name).is_file()
        if Path("whole", name).is_file():
            assert Path("whole", name).read_bytes() == Path("parts", name).read_bytes()
