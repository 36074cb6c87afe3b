"""Train an autoencoder on the images of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from cvkit import render
from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.device import is_out_of_memory
from cvkit.engine.run_folder import DATA_DIGEST, RunFolder, write_config
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.engine.training.facts import compute_rows, parameter_row
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import FitResult, Job
from cvkit.errors import UsageError
from cvkit.files import write_atomic
from cvkit.messages import counted
from cvkit.models.summary import Summary
from cvkit.processes import free_memory
from cvkit.progress import Facts, Reporter
from cvkit.tasks.embedding.autoencoder import AutoencoderSpec, build
from cvkit.tasks.embedding.embedder import Embedder
from cvkit.tasks.embedding.kind import KIND
from cvkit.tasks.embedding.learner import AutoencoderLearner

COMMAND = "cae-embed"
LR = 2e-3
TOO_LARGE = "the network does not fit in memory: use smaller --widths, --latent-dim, --size or --batch-size."
MAX_BATCH_SIZE, MIN_BATCH_SIZE, MIN_STEPS_PER_EPOCH = 128, 8, 50


def new_embedder(config: CaeEmbedConfig, collection: Collection, device: torch.device) -> Embedder:
    """Build an autoencoder with random weights for the images of a collection.

    Raises:
        UsageError: If it does not fit in memory.
    """
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
    """Check that activations and weights fit in memory, because the system kills a process that exceeds it.

    Args:
        config: The settings.
        embedder: The autoencoder.
        summary: Its number of parameters, and the activation bytes of one image.
        images: Number of training images.

    Raises:
        UsageError: If they do not fit. On a GPU, PyTorch itself reports that.
    """
    weights = 4 * 4 * summary.parameters  # with their gradients and the two averages of Adam
    activations = 2 * summary.training_bytes * min(images, resolve(config, images).batch_size)
    if embedder.device.type == "cpu" and weights + activations > free_memory():
        raise UsageError(TOO_LARGE)


@dataclass(frozen=True)
class Resolved:
    """Settings whose default depends on the data."""

    lr: float
    batch_size: int


def resolve(config: CaeEmbedConfig, images: int) -> Resolved:
    """Choose the defaults: with few images, batches are smaller, so that an epoch has enough steps."""
    fitting = 2 ** max(0, (images // MIN_STEPS_PER_EPOCH).bit_length() - 1)
    default = max(MIN_BATCH_SIZE, min(MAX_BATCH_SIZE, fitting))
    return Resolved(lr=config.lr or LR, batch_size=config.batch_size or default)


@dataclass(frozen=True)
class TrainingRun:
    """A run of the command.

    Attributes:
        config: The settings.
        embedder: The autoencoder to train.
        collection: The images.
        folder: The run folder.
        title: Title of the learning curves.
        data: The values of ``identity_of(collection)``.
    """

    config: CaeEmbedConfig
    embedder: Embedder
    collection: Collection
    folder: RunFolder
    title: str
    data: Mapping[str, Any]

    def draw_curves(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves."""
        picture = render.curves(history, title=self.title, best_epoch=best_epoch, held_out="test")
        write_atomic(self.folder.path / "curves.png", picture)


def train(run: TrainingRun, fabric: Fabric, report: Reporter) -> FitResult:
    """Train to the end of the run, and load the weights of the best epoch into the embedder.

    Raises:
        StoppedBySignal: If a signal stopped the training after saving.
        TrainingError: If the loss is not finite.
    """
    config, embedder, folder = run.config, run.embedder, run.folder
    parts = {name: run.collection.splits[name].to_device_if_small(fabric.device) for name in ("train", "test")}
    resolved = resolve(config, len(parts["train"]))
    if fabric.global_rank == 0:
        facts = {**vars(resolved), **embedder.metadata(), **run.data}
        write_config(folder, COMMAND, config.as_dict(), facts)
    report(_describe(run, fabric, resolved))
    job = Job(
        learner=AutoencoderLearner(embedder, config, parts["train"]),
        train=parts["train"],
        val=parts["test"],
        folder=folder,
        config=config,
        lr=resolved.lr,
        batch_size=resolved.batch_size,
        workers=0,  # the images are in memory, so a loading process would only copy them
        kind=KIND.checkpoint,
        after_epoch=run.draw_curves,
        data=run.data,
    )
    result = fit(job, fabric, report)
    fabric.barrier()  # the first process writes best.pt
    load_best_weights(folder, KIND.checkpoint, embedder.model)
    return result


def _describe(run: TrainingRun, fabric: Fabric, resolved: Resolved) -> Facts:
    """Return the block of facts of a run."""
    spec, splits = run.embedder.spec, run.collection.splits
    rows = (
        ("data", run.config.data),
        ("images", ", ".join(f"{len(part)} {name}" for name, part in splits.items())),
        (
            "network",
            f"autoencoder, widths {','.join(map(str, spec.widths))}, code of {counted(spec.latent_dim, 'value')}",
        ),
        parameter_row(run.embedder.model),
        ("learning rate", f"{resolved.lr:g}"),
        *compute_rows(run.config, fabric, resolved.batch_size),
        ("run folder", str(run.folder.path)),
    )
    return Facts("training", rows)


def identity_of(collection: Collection) -> dict[str, Any]:
    """Return what a resumed run compares: the number of images of each split, and the digest of their content."""
    counts = {name: len(collection.splits[name]) for name in ("train", "test")}
    return {**counts, DATA_DIGEST: collection.sha256()}
