"""A model and data that are small enough to check by hand, for tests of the training loop."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from cvkit.config import TrainingConfig
from cvkit.engine import checkpoint
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import FitResult, Job
from cvkit.engine.training.optim import Group
from cvkit.progress import Reporter, ignore


class Points:
    """Ten points of y = 3 x; the target at the index ``bad`` is NaN."""

    def __init__(self, count: int = 10, bad: int | None = None) -> None:
        self.x = torch.linspace(-1, 1, count)
        self.bad = bad
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        del epoch
        index = torch.from_numpy(indices)
        y = self.x[index] * 3
        if self.bad is not None:
            y[index == self.bad] = math.nan
        return {"x": self.x[index][:, None], "y": y[:, None], "index": index}


class Line:
    """Learns a slope through dropout, which makes training random; sends a signal at step ``signal_at``."""

    def __init__(self, signal_at: int | None = None) -> None:
        torch.manual_seed(0)
        self._model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.signal_at, self.calls = signal_at, 0
        self.losses: list[float] = []

    @property
    def model(self) -> nn.Module:
        return self._model

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        del epoch
        model.train()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        value = (model(batch["x"]) - batch["y"]).square().mean()
        self.losses.append(float(value.detach()))
        return value

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        error = (model(batch["x"]) - batch["y"]).square()[:, 0]
        undefined = torch.where(batch["index"] == 0, math.nan, error)
        return {"loss": error, "partial": undefined, "nowhere": torch.full_like(error, math.nan)}

    def names(self, batch: dict[str, Tensor]) -> list[str]:
        return [f"point-{int(index)}.jpg" for index in batch["index"]]

    def groups(self) -> list[Group]:
        return [Group(list(self._model.parameters()))]

    def metadata(self) -> dict[str, Any]:
        return {"spec": {"name": "line"}}


def config(folder: Path, **changes: Any) -> TrainingConfig:
    base: dict[str, Any] = {"epochs": 4, "workers": 0, "device": "cpu", "out": str(folder), "best_metric": "loss"}
    return TrainingConfig(**(base | changes))


def run(
    folder: Path,
    learner: Line | None = None,
    data: Points | None = None,
    *,
    identity: dict[str, Any] | None = None,
    report: Reporter = ignore,
    **changes: Any,
) -> FitResult:
    folder.mkdir(exist_ok=True)
    job = Job(
        learner=learner or Line(),
        train=data or Points(),
        val=Points(6),
        folder=RunFolder(folder),
        config=config(folder, **changes),
        lr=0.05,
        batch_size=3,
        workers=changes.get("workers", 0),
        kind="line",
        data=identity or {},
    )
    return fit(job, Fabric(accelerator="cpu", devices=1), report)


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoint.load(folder / "last.pt", "training-state")["model"]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)
