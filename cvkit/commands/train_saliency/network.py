"""Build the network to train, and load its initial weights."""

from pathlib import Path

import torch

from cvkit.config import TrainSaliencyConfig
from cvkit.engine.run_folder import RunFolder
from cvkit.models import fetch
from cvkit.models.published.pretrained import backbone_entry
from cvkit.progress import Reporter
from cvkit.tasks.saliency.networks.base import SaliencyModel, SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.networks.pretraining import IMAGENET, RANDOM, load_backbone


def build_network(config: TrainSaliencyConfig) -> SaliencyModel:
    """Build the network with random weights.

    Raises:
        UsageError: If the backbone does not exist, or cannot be used.
    """
    torch.manual_seed(config.seed)
    return build(SaliencySpec.of(config.model, backbone=config.backbone, dropout=config.dropout, prior=config.prior))


def load_weights(model: SaliencyModel, config: TrainSaliencyConfig, report: Reporter) -> str:
    """Load the initial weights of the backbone, and freeze it if the settings say so.

    Args:
        model: The network, changed in place.
        config: The settings.
        report: Receives the progress of a download.

    Returns:
        Where the weights come from, for the user.

    Raises:
        WeightsError: If the weights do not fit, or are not available.
    """
    label = f"those of {config.out}"
    if not _is_resumed(config):
        label = load_backbone(model, config.weights, zero_bias=config.zero_bias, report=report)
    elif config.weights != RANDOM:
        model.fix_norm()
    if config.freeze == "backbone":
        model.freeze_backbone()
    return label


def needs_download(config: TrainSaliencyConfig) -> bool:
    """Return whether the initial weights must be downloaded first."""
    return (
        config.weights == IMAGENET and not _is_resumed(config) and fetch.cached(backbone_entry(config.backbone)) is None
    )


def _is_resumed(config: TrainSaliencyConfig) -> bool:
    return config.resume and RunFolder(Path(config.out or "")).has_state
