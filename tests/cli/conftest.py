"""A small data set, a small trained run, and a way to run commands as the shell does."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cvkit.cli import main as program


@dataclass(frozen=True)
class Outcome:
    """What the shell sees of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def run_in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Outcome:
    """Run ``cvkit words...`` in this process."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["cvkit", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        program.main()
    captured = capsys.readouterr()
    return Outcome(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command: ``run("predict", path, "--checkpoint", run_folder)``."""
    return lambda *words: run_in_process(monkeypatch, capsys, *words)


@pytest.fixture(scope="session")
def fixation_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and three validation displays."""
    from cvkit.commands.sample_data import sample_fixations
    from cvkit.config import SampleFixationsConfig

    folder = tmp_path_factory.mktemp("data") / "displays"
    sample_fixations(SampleFixationsConfig(out=str(folder), train=6, val=3, size=(96, 128)))
    return folder


TINY = ("--backbone", "timm:mobilenetv3_small_050", "--weights", "none", "--size", "64x96", "--workers", "0")


@pytest.fixture(scope="session")
def trained(fixation_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, trained for two epochs."""
    from cvkit.commands.train_saliency import train_saliency
    from cvkit.config import TrainSaliencyConfig

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = TrainSaliencyConfig(
        data=str(fixation_data),
        backbone="timm:mobilenetv3_small_050",
        weights="none",
        size=(64, 96),
        workers=0,
        epochs=2,
        batch_size=3,
        samples=2,
        device="cpu",
        out=str(folder),
    )
    train_saliency(config)
    return folder


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC", "CVKIT_")) or name in ("RANK", "LOCAL_RANK"):
            monkeypatch.delenv(name)
