"""Define the loss, the validation scores and the parameter groups for training a saliency network."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.config import TrainSaliencyConfig
from cvkit.engine.training.optim import Group
from cvkit.tasks.saliency.data.dataset import SaliencyDataset
from cvkit.tasks.saliency.losses import Loss, resize_like
from cvkit.tasks.saliency.metrics.auc import auc_judd
from cvkit.tasks.saliency.metrics.fixation import nss
from cvkit.tasks.saliency.metrics.similarity import cc, kl, sim
from cvkit.tasks.saliency.networks.base import SaliencyModel
from cvkit.tasks.saliency.predictor import SaliencyPredictor


class SaliencyLearner:
    """Training and validation of a saliency network on batches of images, maps and fixation counts.

    Args:
        predictor: Network with its normalisation.
        config: Settings of the run.
        loss: Loss function.
        data: Training data, which name the images of a batch.
    """

    def __init__(self, predictor: SaliencyPredictor, config: TrainSaliencyConfig, loss: Loss, data: SaliencyDataset):
        self.predictor, self.config, self.data = predictor, config, data
        self.model: SaliencyModel = predictor.model
        self._loss = loss

    def _predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(self.predictor.normalise(batch["image"])).float()

    def _loss_of(self, maps: Tensor, batch: dict[str, Tensor]) -> Tensor:
        counts = batch.get("counts")
        resized = None if counts is None else resize_like(counts, maps, counts=True)
        return self._loss(maps, resize_like(batch["target"], maps), resized)

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Put the network into training mode."""
        del epoch
        model.train()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss at the size of the network's output, plus the penalty of the learned prior."""
        return self._loss_of(self._predict(model, batch), batch) + self.model.penalty()

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return scores of each image, (N,) by name: CC, SIM, KL, the loss and, with fixations, NSS and AUC-Judd.

        Maps are compared at the size of the input, except by the loss.
        """
        maps = self._predict(model, batch)
        losses = [
            self._loss_of(maps[i : i + 1], {name: value[i : i + 1] for name, value in batch.items()})
            for i in range(len(maps))
        ]
        resized = F.interpolate(maps, size=batch["target"].shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        target = batch["target"][:, 0]
        scores = {"cc": cc(resized, target), "sim": sim(resized, target), "kl": kl(resized, target)}
        scores["loss"] = torch.stack(losses)
        if "counts" in batch:
            counts = batch["counts"][:, 0]
            scores |= {"nss": nss(resized, counts), "auc_judd": auc_judd(resized, counts)}
        return scores

    def names(self, batch: dict[str, Tensor]) -> list[str]:
        """Return the paths of the images of a training batch."""
        return [self.data.name(int(index)) for index in batch["index"]]

    def groups(self) -> list[Group]:
        """Return the parameter groups: a pretrained backbone at a fraction of the learning rate, and the head."""
        config = self.config
        scale = 1.0 if config.weights == "none" else config.backbone_lr
        frozen = config.freeze if isinstance(config.freeze, int) else 0
        backbone = Group.frozen_until(frozen, list(self.model.backbone_parameters()), scale)
        return [backbone, Group(list(self.model.head_parameters()))]

    def metadata(self) -> dict[str, Any]:
        """Return plain values that, with the weights in ``best.pt``, rebuild the predictor."""
        return {**self.predictor.metadata(), "config": self.config.as_dict()}
