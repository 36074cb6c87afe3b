"""The progress of a training run, as ``last.pt`` keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


@dataclass
class State:
    """The progress of a training run. Checkpoints hold all of it.

    Attributes:
        epoch: Number of completed epochs.
        batch: Number of completed batches in the current epoch.
        step: Number of completed optimiser steps.
        loss_sum: Sum of the loss over the images of the current epoch.
        images: Number of images of this process in the current epoch.
        seconds: Training time of the current epoch in seconds.
        waited: Seconds of it spent waiting for data.
        parts: Number of parts in which a batch is computed, more than 1 after memory did not suffice.
        sums: ``loss_sum`` and ``images`` of every process when the state was saved.
        best_epoch: Number of the best epoch, 0 before the first one.
        history: One row per completed epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    parts: int = 1
    sums: list[list[float]] = field(default_factory=list)
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the progress from the values in a checkpoint; values that only earlier versions used are ignored."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    def start_epoch(self) -> None:
        """Reset the values of the current epoch."""
        self.batch, self.loss_sum, self.images, self.seconds, self.waited = 0, 0.0, 0, 0.0, 0.0

    def take_sums(self, rank: int) -> None:
        """Set the values of a process from ``sums``, after another process saved the state."""
        if rank < len(self.sums):
            loss_sum, images = self.sums[rank]
            self.loss_sum, self.images = loss_sum, int(images)
