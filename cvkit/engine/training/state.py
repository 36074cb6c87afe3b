"""Where a training run stands, and how it is kept in ``last.pt`` so that it goes on bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cvkit.engine import checkpoint
from cvkit.engine.training.optim import WeightAverage
from cvkit.errors import TrainingError

KIND = "training-state"


@dataclass
class State:
    """Where a run stands; all of it is in ``last.pt``."""

    epoch: int = 0  # epochs done
    batch: int = 0  # batches done in the epoch under way
    step: int = 0  # optimizer steps done
    loss_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


class Scaler(Protocol):
    """What scales losses and gradients in mixed precision, and remembers its scale."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was remembered."""


@dataclass(frozen=True)
class Parts:
    """Everything that changes while a run goes on; ``batches`` an epoch tell whether the data is the same."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: Scaler
    average: WeightAverage | None
    batches: int

    def save(self, path: Path, state: State) -> None:
        """Write all of it, whole or not at all."""
        content = {
            "model": weights_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.scaler.state_dict(),
            "average": self.average.values if self.average else None,
            "state": asdict(state),
            "batches": self.batches,
        }
        checkpoint.save(path, KIND, content)

    def restore(self, path: Path) -> State:
        """Take all of it over from a file; raises TrainingError when an epoch had another number of batches."""
        content = checkpoint.load(path, KIND)
        if content["batches"] != self.batches:
            raise TrainingError(
                f"{path}: an epoch had {content['batches']} batches and has {self.batches} now; "
                "resume with the same data and the same number of processes."
            )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["precision"])
        if self.average:
            self.average.load(content["average"])
        return State(**content["state"])


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights and buffers as they are now, not copied."""
    return {name: value.detach() for name, value in model.state_dict().items()}


def summary(row: Mapping[str, Any], *, best: bool) -> str:
    """Return one line about an epoch's row of the history."""
    shown = {name: value for name, value in row.items() if name.startswith(("train_", "val_"))}
    figures = "  ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in shown.items())
    mark = "  (best)" if best else ""
    speed = f"  {row['images_per_second']:.1f} images/s, model busy {row['busy']:.0%}"
    return f"epoch {row['epoch']}: {figures}{speed}{mark}"
