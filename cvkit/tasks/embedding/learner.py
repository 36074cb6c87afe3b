"""Compute the loss, the scores and the parameter groups for training an autoencoder."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.config import CaeEmbedConfig
from cvkit.data.image_set import ImageSet
from cvkit.engine.training.optim import Group
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.metrics import mse
from cvkit.tasks.embedding.noise import add_noise


class AutoencoderLearner:
    """Training of an autoencoder on the binary cross entropy of its reconstructions.

    A denoising autoencoder (``embedder.noise_sigma`` above 0) reconstructs the clean images from noisy ones. Source:
    Vincent et al. 2008, Extracting and composing robust features with denoising autoencoders.
    """

    def __init__(self, embedder: Embedder, config: CaeEmbedConfig, train: ImageSet) -> None:
        self.embedder, self.config, self.train = embedder, config, train
        self.model: nn.Module = embedder.model

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Put the network into training mode."""
        del epoch
        model.train()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean binary cross entropy per pixel, in nats, between the reconstructions and the clean images.

        ``batch["image"]`` is (N, C, H, W) uint8.
        """
        clean = self.embedder.pixels(batch["image"])
        inputs = clean
        if self.embedder.noise_sigma:
            inputs = torch.randn_like(clean).mul_(self.embedder.noise_sigma).add_(clean)
        # From logits, because the sigmoid of a large logit is exactly 0 or 1 and has no gradient.
        return F.binary_cross_entropy_with_logits(model(inputs, logits=True).float(), clean)

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss and the mean squared error of each image, (N,) float32.

        ``batch["index"]`` is the index (N,) of each image, which determines its noise.
        """
        clean = self.embedder.pixels(batch["image"])
        inputs = add_noise(clean, batch["index"], self.embedder.noise_sigma, self.config.seed)
        logits = model(inputs, logits=True).float()
        loss = F.binary_cross_entropy_with_logits(logits, clean, reduction="none").flatten(1).mean(1)
        return {"loss": loss, "mse": mse(logits.sigmoid(), clean)}

    def names(self, batch: dict[str, Tensor]) -> list[str]:
        """Return the names of the images of a training batch; of more than 8, the first 8 and an ellipsis."""
        names = [self.train.names[int(index)] for index in batch["index"][:8]]
        return names if len(batch["index"]) <= len(names) else [*names, "..."]

    def groups(self) -> list[Group]:
        """Return one group of all parameters, with one learning rate."""
        return [Group(list(self.model.parameters()))]

    def metadata(self) -> dict[str, Any]:
        """Return the metadata for ``best.pt`` from which, with the weights, the embedder is rebuilt."""
        return {**self.embedder.metadata(), "config": self.config.as_dict()}
