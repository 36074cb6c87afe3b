"""Define the loss, the validation scores and the parameter groups for training a classifier."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.config import TrainClassifierConfig
from cvkit.engine.training.optim import Group
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.augment import make_mixing
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.freezing import TrainingPlan

MAX_NAMES = 8  # files of a batch that a message names
TOP5_CLASSES = 6  # classes from which on the top-5 accuracy says something


class ClassifierLearner:
    """Training and validation of a classifier by cross-entropy.

    Args:
        classifier: The network with its preprocessing.
        settings: Resolved settings of the command.
        plan: The layers that are trained.
        data: Training images, which name the files of a batch and count the classes.
        facts: Plain values that rebuild the classifier.
        switch_gradients: Whether layers that are frozen at first need no gradients until then; DDP does not allow it.

    Attributes:
        last_layers: The module that takes ``features`` in place of images; None if all batches have images.
    """

    def __init__(
        self,
        classifier: Classifier,
        settings: TrainClassifierConfig,
        plan: TrainingPlan,
        data: ClassImages,
        *,
        facts: Mapping[str, Any],
        switch_gradients: bool = True,
    ) -> None:
        self.classifier, self.settings, self.plan, self.data = classifier, settings, plan, data
        self.facts, self.switch_gradients = facts, switch_gradients
        self.num_classes: int = facts["spec"]["classes"]
        self.last_layers: nn.Module | None = None
        plan.require_gradients(self.model)
        self._mixing = make_mixing(settings, self.num_classes)
        self._weights = class_weights(data.labels, self.num_classes) if settings.balance == "loss" else None

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.classifier.network

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Put the layers that are trained in this epoch into training mode, and the others into evaluation mode."""
        model.train()
        self.plan.set_mode(self.model, epoch, switch_gradients=self.switch_gradients)

    def _logits(self, model: nn.Module, batch: dict[str, Tensor], images: Tensor | None = None) -> Tensor:
        """Return (N, classes) float32 logits of the images, or of the features that stand for them."""
        if "features" in batch:
            assert self.last_layers is not None
            return self.last_layers(batch["features"]).float()
        return model(self.classifier.normalise(batch["image"]) if images is None else images).float()

    def predict(self, batch: dict[str, Tensor]) -> Tensor:
        """Return (N, classes) float32 logits of a batch in evaluation mode, without gradients."""
        with self.classifier.evaluating():
            return self._logits(self.model, batch)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy of a batch, with label smoothing, class weights and mixing of the settings."""
        assert self.settings.label_smoothing is not None
        target, images = batch["label"], None
        if self._mixing is not None and "image" in batch:
            images, target = self._mixing(self.classifier.normalise(batch["image"]), target)
        weights = None if self._weights is None else self._weights.to(target.device)
        logits = self._logits(model, batch, images)
        # PyTorch would divide by the weights of the batch, so that the loss would depend on the division into batches,
        # and a batch of one image would lose its weight.
        smoothing = self.settings.label_smoothing
        return F.cross_entropy(logits, target, weights, reduction="none", label_smoothing=smoothing).mean()

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return scores of each image, (N,) by name: cross-entropy, accuracy and, of six or more classes, top-5."""
        logits, target = self._logits(model, batch), batch["label"]
        better = (logits > logits.gather(1, target[:, None])).sum(1)
        scores = {
            "loss": F.cross_entropy(logits, target, reduction="none"),
            "accuracy": (better < 1).float(),
        }
        if self.num_classes >= TOP5_CLASSES:
            scores["top5_accuracy"] = (better < 5).float()
        return scores

    def names(self, batch: dict[str, Tensor]) -> list[str]:
        """Return the names of the images of a training batch; of more than 8, the first 8 and an ellipsis."""
        names = [self.data.name(int(index)) for index in batch["index"][:MAX_NAMES]]
        return names if len(batch["index"]) <= MAX_NAMES else [*names, "..."]

    def groups(self) -> list[Group]:
        """Return the parameters to train, grouped by learning rate."""
        return self.plan.groups(self.model)

    def metadata(self) -> dict[str, Any]:
        """Return plain values that, with the weights in ``best.pt``, rebuild the classifier."""
        return dict(self.facts)


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return the weight of each class in the loss, the inverse of its number of images.

    Args:
        labels: (N,) int64, class of each training image.
        num_classes: Number of classes K.

    Returns:
        (K,) float32 with mean 1 over the images; 0 for a class without images.
    """
    counts = torch.bincount(labels, minlength=num_classes).float()
    present = counts > 0
    return torch.where(present, len(labels) / (present.sum() * counts.clamp_min(1)), 0.0)
