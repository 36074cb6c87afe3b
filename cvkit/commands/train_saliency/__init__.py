"""Train a saliency network on eye fixations."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvkit.commands.train_saliency.facts import Start, describe_run
from cvkit.commands.train_saliency.network import build_network, load_weights, needs_download
from cvkit.commands.train_saliency.pictures import sample_sheet
from cvkit.commands.train_saliency.reading import TrainingData, find_data, read_data
from cvkit.config import TrainSaliencyConfig
from cvkit.engine.distributed import start_fabric
from cvkit.engine.run_folder import RunFolder, check_same_data, opened_run, write_config
from cvkit.engine.stop import STOPPED_BEFORE_TRAINING, StopSignal, interruptible
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import FitResult, Job
from cvkit.engine.training.pictures import RunPictures
from cvkit.errors import UsageError
from cvkit.models.backbones import normalisation
from cvkit.processes import worker_count
from cvkit.progress import Reporter, ignore
from cvkit.tasks.saliency.data.dataset import SaliencyDataset
from cvkit.tasks.saliency.kind import KIND
from cvkit.tasks.saliency.learner import SaliencyLearner
from cvkit.tasks.saliency.losses import make_loss
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
    files = find_data(config)  # before anything is downloaded or built
    fabric = start_fabric(config, deterministic=config.deterministic)
    model = build_network(config)
    quiet = report if fabric.global_rank == 0 else ignore
    # Weights that are here are checked before the images are read, and weights are downloaded afterwards.
    deferred = needs_download(config)
    weights = "" if deferred else load_weights(model, config, quiet)
    with opened_run(config, Path(f"runs/{COMMAND}/{config.model}"), fabric) as folder:
        with StopSignal() as stop:
            data = read_data(config, files, settings.size, interruptible(stop, report, STOPPED_BEFORE_TRAINING))
        if config.best_metric in FIXATION_METRICS and not data.val.has_fixations:
            raise UsageError(f"--best-metric {config.best_metric} needs fixations for every validation image: use cc.")
        check_same_data(folder, config, data.identity())
        weights = load_weights(model, config, quiet) if deferred else weights
        result = _train(config, Start(fabric, model, weights, folder, files, data), report)
    return TrainSaliencyResult(
        folder=folder.path,
        best_epoch=result.best_epoch,
        best=result.best,
        epochs=len(result.history),
        training_images=len(data.train),
        validation_images=len(data.val),
        parameters=_parameters(model),
        problems=data.problems,
    )


def _train(config: TrainSaliencyConfig, start: Start, report: Reporter) -> FitResult:
    """Write the settings of a run, and train it."""
    settings, folder, data = config.resolved(), start.folder, start.data
    assert settings.size is not None
    report(describe_run(settings, start))
    is_main = start.fabric.global_rank == 0
    if is_main:
        facts = {name: getattr(settings, name) for name in RESOLVED} | {"parameters": _parameters(start.model)}
        write_config(folder, COMMAND, config.as_dict(), {**facts, **data.identity()})
    pixels = normalisation(config.backbone)
    predictor = SaliencyPredictor(start.model, settings.size, device=start.fabric.device, normalisation=pixels)
    count = config.samples
    pictures = RunPictures(
        folder=folder,
        title=f"{config.model} on {Path(config.data).name}",
        network=predictor.model,
        kind=KIND.checkpoint,
        draw_samples=partial(sample_sheet, predictor, data.val, count, config.max_pixels) if count else None,
    )
    if is_main and folder.has_state:
        pictures.draw_missing()  # before the training loads the weights of last.pt
    try:
        result = fit(_make_job(config, predictor, data, folder, pictures), start.fabric, report)
    finally:
        pictures.finish()
    if is_main:
        load_best_weights(folder, KIND.checkpoint, start.model)  # a run must not end with a best.pt that is damaged
    return result


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


def _parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())
