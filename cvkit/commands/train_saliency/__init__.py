"""Train a saliency network on eye fixations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cvkit.commands.train_saliency.pictures import RunPictures
from cvkit.commands.train_saliency.reading import TrainingData, read_data
from cvkit.config import TrainSaliencyConfig
from cvkit.engine.distributed import start_fabric
from cvkit.engine.run_folder import RunFolder, check_same_data, opened_run, write_config
from cvkit.engine.stop import STOPPED_BEFORE_TRAINING, StopSignal, interruptible
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import Job
from cvkit.errors import UsageError
from cvkit.models.backbones import normalisation
from cvkit.processes import worker_count
from cvkit.progress import Reporter, ignore
from cvkit.tasks.saliency.data.dataset import SaliencyDataset
from cvkit.tasks.saliency.kind import KIND
from cvkit.tasks.saliency.learner import SaliencyLearner
from cvkit.tasks.saliency.losses import make_loss
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.networks.pretraining import load_backbone
from cvkit.tasks.saliency.predictor import SaliencyPredictor

COMMAND = "train-saliency"
RESOLVED = ("size", "loss", "alpha", "lr", "batch_size")  # settings that config.json lists under "resolved"
FIXATION_METRICS = ("nss", "auc_judd")


@dataclass(frozen=True)
class TrainSaliencyResult:
    """The run folder, its best epoch, and the data it was trained on.

    Attributes:
        folder: The run folder.
        best_epoch: Best epoch, from 1.
        best: Row of ``history.csv`` of that epoch.
        epochs: Number of trained epochs.
        training_images: Number of training images.
        validation_images: Number of validation images.
        parameters: Number of parameters of the network.
        problems: Number of files that were left out.
    """

    folder: Path
    best_epoch: int
    best: Mapping[str, Any]
    epochs: int
    training_images: int
    validation_images: int
    parameters: int
    problems: int


def train_saliency(config: TrainSaliencyConfig, report: Reporter = ignore) -> TrainSaliencyResult:
    """Check the data, build the network, train it, and write a run folder with pictures.

    Raises:
        DataError: If no image can be used, or with ``strict`` if any file has a problem.
        UsageError: If the best metric needs fixations that the data lacks.
        WeightsError: If the weights do not fit.
        OutputError: If the folder is in use.
        TrainingError: If the loss is not finite.
        StoppedBySignal: If a signal stopped the command after saving.
    """
    settings = config.resolved()
    assert settings.size is not None
    fabric = start_fabric(config, deterministic=config.deterministic)
    # Before the data is read, so that wrong weights and a folder in use are refused at once.
    predictor = _build(config, settings.size, fabric.device, report if fabric.global_rank == 0 else ignore)
    with opened_run(config, Path(f"runs/{COMMAND}/{config.model}"), fabric) as folder:
        with StopSignal() as stop:
            data = read_data(config, settings.size, interruptible(stop, report, STOPPED_BEFORE_TRAINING))
        if config.best_metric in FIXATION_METRICS and not data.val.has_fixations:
            raise UsageError(f"--best-metric {config.best_metric} needs fixations for every validation image: use cc.")
        check_same_data(folder, config, data.identity())
        parameters = sum(p.numel() for p in predictor.model.parameters())
        if fabric.global_rank == 0:
            facts = {name: getattr(settings, name) for name in RESOLVED}
            write_config(folder, COMMAND, config.as_dict(), {**facts, "parameters": parameters, **data.identity()})
        pictures = RunPictures(folder, config, predictor, data.val)
        if fabric.global_rank == 0 and folder.has_state:
            pictures.draw_missing()  # before the training loads the weights of last.pt
        result = fit(_make_job(config, predictor, data, folder, pictures), fabric, report)
    return TrainSaliencyResult(
        folder=folder.path,
        best_epoch=result.best_epoch,
        best=result.best,
        epochs=len(result.history),
        training_images=len(data.train),
        validation_images=len(data.val),
        parameters=parameters,
        problems=data.problems,
    )


def _make_job(
    config: TrainSaliencyConfig,
    predictor: SaliencyPredictor,
    data: TrainingData,
    folder: RunFolder,
    pictures: RunPictures,
) -> Job:
    settings = config.resolved()
    assert settings.alpha is not None and settings.lr is not None and settings.batch_size is not None
    return Job(
        learner=SaliencyLearner(predictor, config, make_loss(settings.loss, settings.alpha), data.train),
        train=data.train,
        val=data.val,
        folder=folder,
        config=config,
        lr=settings.lr,
        batch_size=settings.batch_size,
        workers=_choose_workers(config, data.train, predictor.device),
        kind=KIND.checkpoint,
        after_epoch=pictures.draw_epoch,
        data=data.identity(),
    )


def _choose_workers(config: TrainSaliencyConfig, data: SaliencyDataset, device: torch.device) -> int:
    """Return the number of loading processes: none by default if samples are in memory and the processor computes.

    Augmenting a sample in memory takes a millisecond; a process of its own would take more from the network's threads.
    """
    if config.workers is None and data.cached is not None and device.type == "cpu":
        return 0
    return worker_count(config.workers)


def _build(
    config: TrainSaliencyConfig, size: tuple[int, int], device: torch.device, report: Reporter
) -> SaliencyPredictor:
    """Build the network with its initial weights."""
    torch.manual_seed(config.seed)
    spec = SaliencySpec.of(config.model, backbone=config.backbone, dropout=config.dropout, prior=config.prior)
    model = build(spec)
    if not (config.resume and RunFolder(Path(config.out or "")).has_state):
        load_backbone(model, config.weights, zero_bias=config.zero_bias, report=report)
    elif config.weights != "none":
        model.fix_norm()
    if config.freeze == "backbone":
        model.freeze_backbone()
    return SaliencyPredictor(model, size, device=device, normalisation=normalisation(config.backbone))
