"""The interfaces that the training loop requires of data and of a task."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cvkit.engine.training.optim import Group

Batch = dict[str, Tensor]


class Data(Protocol):
    """A data set that returns whole batches."""

    def __len__(self) -> int:
        """Return the number of examples."""

    @property
    def device(self) -> torch.device:
        """Return the device of the batches."""

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """Return a batch of examples with the augmentation of an epoch.

        An example must not depend on the other examples of the batch.

        Args:
            epoch: Number of the epoch, from 0.
            indices: (B,) numbers of the examples.

        Returns:
            Tensors with first dimension B, among them ``index`` (B,) int64.
        """


class Learner(Protocol):
    """A network with its task: loss, scores, parameter groups and metadata.

    ``loss`` and ``scores`` run the network that they get as ``model``, which may be compiled or distributed.
    """

    @property
    def model(self) -> nn.Module:
        """Return the network itself, whose weights are saved."""

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Put the network into training mode for an epoch, counted from 0; frozen layers may stay in another mode."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar to minimise."""

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the validation scores by name, each (B,) float and NaN where undefined; ``loss`` is among them."""

    def names(self, batch: Batch) -> list[str]:
        """Return the file names of a batch, for messages."""

    def groups(self) -> list[Group]:
        """Return the parameters to train, grouped by learning rate."""

    def metadata(self) -> dict[str, Any]:
        """Return what ``best.pt`` holds beside the weights, enough to rebuild the model."""
