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
from cvkit.tasks.embedding.noise import noise_of


class AutoencoderLearner:
    """Bytes in; the binary cross entropy of their reconstruction out, from noisy images when ``denoise``."""

    def __init__(self, embedder: Embedder, config: CaeEmbedConfig, train: ImageSet) -> None:
        self.embedder, self.config, self.train = embedder, config, train
        self.model: nn.Module = embedder.model

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean binary cross entropy a pixel, in nats, against the clean images."""
        clean = self.embedder.pixels(batch["image"])
        seen = clean
        if self.embedder.noise_sigma:
            seen = torch.randn_like(clean).mul_(self.embedder.noise_sigma).add_(clean)
        # From logits, so that a pixel that is wrong for certain still has a gradient.
        return F.binary_cross_entropy_with_logits(model(seen, logits=True).float(), clean)

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss and the mean squared error of each image; the noise is the same for an image every time."""
        clean = self.embedder.pixels(batch["image"])
        seen = noisy(clean, batch["index"], self.embedder.noise_sigma, self.config.seed)
        logits = model(seen, logits=True).float()
        each = F.binary_cross_entropy_with_logits(logits, clean, reduction="none").flatten(1).mean(1)
        return {"loss": each, "mse": mse(logits.sigmoid(), clean)}

    def names(self, batch: dict[str, Tensor]) -> list[str]:
        """Return the names of a training batch's images, the first few of many."""
        names = [self.train.names[int(index)] for index in batch["index"][:8]]
        return names if len(batch["index"]) <= len(names) else [*names, "..."]

    def groups(self) -> list[Group]:
        """Return all parameters at one learning rate."""
        return [Group(list(self.model.parameters()))]

    def metadata(self) -> dict[str, Any]:
        """Return what rebuilds the embedder from ``best.pt`` alone."""
        return {**self.embedder.metadata(), "config": self.config.as_dict()}


def noisy(clean: Tensor, index: Tensor, sigma: float, seed: int) -> Tensor:
    """Return images (N, C, H, W) with the noise of these numbers added, or as they are when ``sigma`` is 0."""
    if not sigma:
        return clean
    return clean + sigma * noise_of(index.cpu().numpy(), tuple(clean.shape[1:]), seed).to(clean.device)
