"""Train a small network in two processes; ``test_two_processes.py`` runs this as a program.

Arguments: the output folder, and how to train: ``whole``, ``parts`` (stopped by a signal and resumed), or ``lost``
(the second process ends in the middle).
"""

import os
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cvkit.config import ComputeConfig, TrainingConfig
from cvkit.engine.distributed import start_fabric
from cvkit.engine.peers import end_with_peers
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import Job
from cvkit.errors import StoppedBySignal, TrainingError
from cvkit.processes import is_main_process
from tests.engine.training.line import Line, Points

COUNT, BATCH_SIZE, VALIDATION = 10, 3, 7  # each of two processes has 6 and 4 examples, and 2 and 1 batches


class Regression(Line):
    """Learns a slope without dropout, with or without a batch norm."""

    def __init__(self, *, norm: bool, signal_at: int | None = None, lost_at: int | None = None) -> None:
        super().__init__(signal_at)
        self.model[1] = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.lost_at = lost_at

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if self.calls + 1 == self.lost_at:
            os._exit(9)
        return super().loss(model, batch)


def train(folder: Path, learner: Regression, fabric: Fabric, *, batch_size: int, resume: bool = False) -> None:
    """Train for three epochs by gradient descent, with a moving average of the weights."""
    config = TrainingConfig(epochs=3, workers=0, device="cpu", optimizer="sgd", ema=0.5, out=str(folder), resume=resume)
    folder.mkdir(exist_ok=True)
    job = Job(
        learner=learner,
        train=Points(COUNT),
        val=Points(VALIDATION),
        folder=RunFolder(folder),
        config=config,
        lr=0.05,
        batch_size=batch_size,
        workers=0,
        kind="line",
    )
    fit(job, fabric)


def _main(out: Path, how: str) -> None:
    fabric = start_fabric(ComputeConfig(device="cpu", devices=2))
    if how == "whole":
        train(out / "plain", Regression(norm=False), fabric, batch_size=BATCH_SIZE)
        train(out / "norm", Regression(norm=True), fabric, batch_size=BATCH_SIZE)
        main = is_main_process()
        learner = Regression(norm=True, signal_at=None if main else 3)
        try:
            train(out / "parts", learner, fabric, batch_size=BATCH_SIZE)
        except StoppedBySignal:
            train(out / "parts", Regression(norm=True), fabric, batch_size=BATCH_SIZE, resume=True)
            (out / f"stopped-{'main' if main else 'other'}").touch()
    elif how == "lost":
        try:
            train(out / "lost", Regression(norm=False, lost_at=None if is_main_process() else 3), fabric, batch_size=3)
        except TrainingError as error:
            (out / "message").write_text(str(error))
            os._exit(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _main(Path(sys.argv[1]), sys.argv[2])
    end_with_peers(0)
