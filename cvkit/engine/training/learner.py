"""What the training loop asks of data, and of a model and its task."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cvkit.engine.training.optim import Group

Batch = dict[str, Tensor]


class Data(Protocol):
    """Examples by number, a batch at a time."""

    def __len__(self) -> int:
        """Return how many examples there are."""

    @property
    def device(self) -> torch.device:
        """Return where its batches are."""

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """Return the examples of these numbers as they are in an epoch, stacked; ``index`` (B,) int64 among them.

        Nothing in it may depend on which other examples are in the batch.
        """


class Learner(Protocol):
    """What the loop trains: a model and what to make of a batch. ``model`` in calls is the one to run forward."""

    @property
    def model(self) -> nn.Module:
        """Return the network itself, as it is saved."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar to minimise."""

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return what to validate by, (B,) float values an image; NaN where undefined."""

    def names(self, batch: Batch) -> list[str]:
        """Return the file names of a batch."""

    def groups(self) -> list[Group]:
        """Return the parameters to train, by learning rate."""

    def metadata(self) -> dict[str, Any]:
        """Return what ``best.pt`` holds beside the weights: enough to rebuild the model."""
