"""Describe a training run and its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cvkit.config import TrainingConfig
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.learner import Data, Learner


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training run.

    Attributes:
        learner: The network, its loss and its scores.
        train: Training examples.
        val: Validation examples.
        folder: The run folder, which exists.
        config: Settings of the run.
        lr: Peak learning rate.
        batch_size: Images per batch and process.
        workers: Number of loading processes, 0 to load in this one.
        kind: Kind of the checkpoint ``best.pt``.
        after_epoch: Called in the first process after each epoch, and when a run resumes at the end of one, with the
            history and the number of the best epoch so far, which is None with ``--best-metric last``. The network has
            the weights that were validated, and ``best.pt`` is written afterwards: if the last epoch is the best one
            (or the number is None), these are the best weights.
        data: The data of the run, as ``run_folder.differing_data`` compares it; empty to compare nothing.
    """

    learner: Learner
    train: Data
    val: Data
    folder: RunFolder
    config: TrainingConfig
    lr: float
    batch_size: int
    workers: int
    kind: str
    after_epoch: Callable[[list[dict[str, Any]], int | None], None] = lambda *_: None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitResult:
    """The result of a training run.

    Attributes:
        best_epoch: Number of the best epoch.
        best: The row of that epoch in the history.
        history: One row per epoch.
        stopped: Whether a signal came after the last epoch was complete.
    """

    best_epoch: int
    best: Mapping[str, Any]
    history: list[dict[str, Any]]
    stopped: bool = False
