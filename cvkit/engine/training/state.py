"""The progress of a training run, as ``last.pt`` keeps it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

MAX_PARTS = 1 << 20  # a batch has at most 1,000,000 images


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
        """Build the progress from the values in a checkpoint; values that only earlier versions used are ignored.

        Raises:
            ValueError: If a value is missing, or is none that a run can have.
        """
        names = {each.name for each in fields(cls)}
        later = {"parts", "sums"}  # which earlier versions of cvkit did not save
        if not isinstance(values, Mapping) or not names - later <= values.keys():
            raise ValueError("the progress of the run is incomplete")
        state = cls(**{name: value for name, value in values.items() if name in names})
        for name in names - {"history", "sums"}:
            value = getattr(state, name)
            if not _is_number(value) or (type(getattr(cls, name)) is int and (type(value) is not int or value < 0)):
                raise ValueError(f"{name} is {str(value)[:40]!r}")
        rows = state.history
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise ValueError("the history is no list of rows")
        if [row.get("epoch") for row in rows] != list(range(1, len(rows) + 1)) or len(rows) != state.epoch:
            raise ValueError(f"the history does not have one row for each of {state.epoch} epochs")
        if not all(isinstance(name, str) and _is_number(value) for row in rows for name, value in row.items()):
            raise ValueError("the history holds other values than numbers")
        if not all(isinstance(row, list) and len(row) == 2 and all(map(_is_number, row)) for row in state.sums):
            raise ValueError("the sums of the processes are no pairs of numbers")
        if not 1 <= state.parts <= MAX_PARTS or state.parts.bit_count() != 1:
            raise ValueError(f"{str(state.parts)[:40]} is no number of parts of a batch")
        if state.best_epoch > state.epoch:
            raise ValueError(f"epoch {state.best_epoch} is the best of {state.epoch}")
        return state

    def check_position(self, batches: int, accumulate: int) -> None:
        """Check that epoch, batch and step agree.

        Args:
            batches: Number of batches per epoch.
            accumulate: Number of batches per optimiser step.

        Raises:
            ValueError: If they do not.
        """
        steps = self.epoch * math.ceil(batches / accumulate) + math.ceil(self.batch / accumulate)
        if self.batch > batches or self.step != steps:
            raise ValueError(f"step {self.step} is not that of epoch {self.epoch}, batch {self.batch}")

    def start_epoch(self) -> None:
        """Reset the values of the current epoch."""
        self.batch, self.loss_sum, self.images, self.seconds, self.waited = 0, 0.0, 0, 0.0, 0.0

    def take_sums(self, rank: int) -> None:
        """Set the values of a process from ``sums``, after another process saved the state."""
        if rank < len(self.sums):
            loss_sum, images = self.sums[rank]
            self.loss_sum, self.images = loss_sum, int(images)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
