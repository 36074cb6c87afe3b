"""What the training loop asks of a model and its task."""

from typing import Any, Protocol

from torch import Tensor, nn

from cvkit.engine.optim import Group

Batch = dict[str, Tensor]


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

    def card(self) -> dict[str, Any]:
        """Return what ``best.pt`` holds beside the weights: enough to rebuild the model."""
