"""Train an autoencoder on the images of a data set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from cvkit import render
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.device import is_out_of_memory
from cvkit.engine import checkpoint
from cvkit.engine.run_folder import RunFolder, write_config
from cvkit.engine.training.fit import FitResult, Job, fit
from cvkit.errors import OutputError, UsageError
from cvkit.files import read_json, write_atomic
from cvkit.models.summary import Summary
from cvkit.processes import free_memory
from cvkit.progress import Reporter
from cvkit.tasks.embedding.autoencoder import AutoencoderSpec, build
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.learner import AutoencoderLearner

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COMMAND = "cae-embed"
KIND = "autoencoder"  # of the checkpoints this command writes
LR = 2e-3
TOO_LARGE = "the network does not fit in memory: take smaller --widths, --latent-dim, --size or --batch-size."
MOST_IN_BATCH, FEWEST_IN_BATCH, STEPS_AN_EPOCH = 128, 8, 50


def new_embedder(config: CaeEmbedConfig, collection: Collection, device: torch.device) -> Embedder:
    """Return an autoencoder with random weights for the images of a collection."""
    _, channels, height, width = collection.splits["train"].images.shape
    spec = AutoencoderSpec(
        size=(height, width),
        channels=channels,
        latent_dim=config.latent_dim,
        widths=config.widths,
        batch_norm=config.batch_norm,
        dropout=config.dropout,
    )
    torch.manual_seed(config.seed)
    try:
        return Embedder(build(spec), device=device, noise_sigma=config.noise_sigma if config.denoise else 0.0)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(TOO_LARGE) from error


def check_memory(config: CaeEmbedConfig, embedder: Embedder, summary: Summary, images: int) -> None:
    """Refuse what a processor would be killed for: activations and weights that do not fit in its memory."""
    weights = 4 * 4 * summary.parameters  # with their gradients and Adam's two averages
    activations = 2 * summary.training_bytes * min(images, resolve(config, images).batch_size)
    if embedder.device.type == "cpu" and weights + activations > free_memory():
        raise UsageError(TOO_LARGE)


@dataclass(frozen=True)
class Resolved:
    """What settings left open came to."""

    lr: float
    batch_size: int


def resolve(config: CaeEmbedConfig, images: int) -> Resolved:
    """Fill in what was left open: with few images, batches are smaller, so that an epoch has steps enough."""
    fitting = 2 ** max(0, (images // STEPS_AN_EPOCH).bit_length() - 1)
    usual = max(FEWEST_IN_BATCH, min(MOST_IN_BATCH, fitting))
    return Resolved(lr=config.lr or LR, batch_size=config.batch_size or usual)


def train(
    config: CaeEmbedConfig,
    embedder: Embedder,
    collection: Collection,
    folder: RunFolder,
    fabric: "Fabric",
    title: str,
    listen: Reporter,
) -> FitResult:
    """Train to the end of the run, or to a signal, and leave the chosen weights in the embedder.

    Raises StoppedBySignal after saving, and TrainingError when the loss is no longer finite.
    """
    parts = {name: collection.splits[name].to_device_if_small(fabric.device) for name in ("train", "test")}
    resolved = resolve(config, len(parts["train"]))
    if fabric.global_rank == 0:
        facts = {**vars(resolved), **embedder.metadata(), "data_sha256": collection.sha256()}
        write_config(folder, COMMAND, config.as_dict(), {**facts, **{name: len(part) for name, part in parts.items()}})

    def after_epoch(history: list[dict[str, Any]], best_epoch: int | None) -> None:
        picture = render.curves(history, title=title, best_epoch=best_epoch, held_out="test")
        write_atomic(folder.path / "curves.png", picture)

    job = Job(
        learner=AutoencoderLearner(embedder, config, parts["train"]),
        train=parts["train"],
        val=parts["test"],
        folder=folder,
        config=config,
        lr=resolved.lr,
        batch_size=resolved.batch_size,
        workers=0,  # the images are in memory: a loading process would only copy them
        kind=KIND,
        after_epoch=after_epoch,
    )
    result = fit(job, fabric, listen)
    fabric.barrier()  # best.pt is written by the first process
    embedder.model.load_state_dict(checkpoint.load(folder.best, KIND)["weights"])
    return result


def check_same_data(config: CaeEmbedConfig, folder: RunFolder, collection: Collection) -> None:
    """Raise OutputError when a run to resume was started with other images, or with others held out."""
    if not (config.resume and folder.last.is_file()):
        return
    before = read_json(folder.config).get("resolved", {}).get("data_sha256")
    if before != collection.sha256():
        raise OutputError(
            f"{folder.path} was started with other images, or others held out: resume it with the same data."
        )
