"""Train a saliency network on eye fixations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cvkit import render
from cvkit.config import TrainSaliencyConfig
from cvkit.data.images import read_image
from cvkit.engine import checkpoint
from cvkit.engine.distributed import start_fabric
from cvkit.engine.run_folder import RunFolder, open_for_processes, write_config
from cvkit.engine.stop import STOPPED_BEFORE_TRAINING, StopSignal, interruptible
from cvkit.engine.training.fit import Job, fit
from cvkit.errors import DataError, UsageError
from cvkit.files import write_atomic
from cvkit.models.backbones import normalisation
from cvkit.processes import cpu_count, worker_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.saliency.data.dataset import Prepared, Problems, SaliencyDataset, SampleSpec, prepare
from cvkit.tasks.saliency.data.layout import Example, read_layout, train_val_split
from cvkit.tasks.saliency.learner import SaliencyLearner
from cvkit.tasks.saliency.losses import make_loss
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.networks.pretraining import load_backbone
from cvkit.tasks.saliency.predictor import SaliencyPredictor

COMMAND = "train-saliency"
KIND = "saliency"  # of the checkpoints this command writes
NEEDS_FIXATIONS = ("nss", "auc_judd")


@dataclass(frozen=True)
class TrainSaliencyResult:
    """Where the run is, its best epoch with that epoch's scores, and what was trained on."""

    folder: Path
    best_epoch: int
    best: Mapping[str, Any]
    epochs: int
    training_images: int
    validation_images: int
    parameters: int
    problems: int


def train_saliency(config: TrainSaliencyConfig, listen: Reporter = ignore) -> TrainSaliencyResult:
    """Find and check the data, build the network, train it, and leave a run folder with pictures.

    Raises DataError when no image can be trained on (or, with ``strict``, when any file has a problem), WeightsError
    for weights that do not fit, OutputError for a folder in use, TrainingError for a loss that is not finite, and
    StoppedBySignal after saving.
    """
    settings = config.resolved()
    assert settings.size and settings.alpha and settings.lr and settings.batch_size
    fabric = start_fabric(config, deterministic=config.deterministic)
    main_report = listen if fabric.global_rank == 0 else ignore
    predictor = _build(config, settings.size, fabric.device, main_report)  # before the data, to reject bad weights
    folder = open_for_processes(config, Path(f"runs/train-saliency/{config.model}"), fabric)
    with StopSignal() as stop:
        train, val, problems = _read_data(config, settings.size, interruptible(stop, listen, STOPPED_BEFORE_TRAINING))
    if config.best_metric in NEEDS_FIXATIONS and not val.has_fixations:
        raise UsageError(
            f"--best-metric {config.best_metric} needs fixations for every validation image; take cc or kl."
        )
    learner = SaliencyLearner(predictor, config, make_loss(settings.loss, settings.alpha), train)
    pictures = _Pictures(folder, config, predictor, val)
    parameters = sum(p.numel() for p in learner.model.parameters())
    if fabric.global_rank == 0:
        names = ("size", "loss", "alpha", "lr", "batch_size")
        facts = {name: getattr(settings, name) for name in names}
        facts |= {"parameters": parameters, "train": len(train), "val": len(val)}
        write_config(folder, COMMAND, config.as_dict(), facts)
    job = Job(
        learner=learner,
        train=train,
        val=val,
        folder=folder,
        config=config,
        lr=settings.lr,
        batch_size=settings.batch_size,
        workers=_workers(config, train, fabric.device),
        kind=KIND,
        after_epoch=pictures.after_epoch,
    )
    result = fit(job, fabric, listen)
    if fabric.global_rank == 0:
        pictures.of_best()
    return TrainSaliencyResult(
        folder=folder.path,
        best_epoch=result.best_epoch,
        best=result.best,
        epochs=len(result.history),
        training_images=len(train),
        validation_images=len(val),
        parameters=parameters,
        problems=problems,
    )


def _workers(config: TrainSaliencyConfig, data: SaliencyDataset, device: torch.device) -> int:
    """Return the number of loading processes: none by default where samples are in memory and the processor computes.

    Augmenting a sample in memory takes a millisecond; a process of its own would take more from the network's threads.
    """
    if config.workers is None and data.cached is not None and device.type == "cpu":
        return 0
    return worker_count(config.workers)


def _build(
    config: TrainSaliencyConfig, size: tuple[int, int], device: torch.device, report: Reporter
) -> SaliencyPredictor:
    """Build the network with the weights it starts from, wrapped with its input size and normalisation."""
    torch.manual_seed(config.seed)
    spec = SaliencySpec.of(config.model, backbone=config.backbone, dropout=config.dropout, prior=config.prior)
    model = build(spec)
    if not (config.resume and RunFolder(Path(config.out or "")).last.is_file()):
        load_backbone(model, config.weights, zero_bias=config.zero_bias, report=report)
    elif config.weights != "none":
        model.fix_norm()
    if config.freeze == "backbone":
        model.freeze_backbone()
    return SaliencyPredictor(model, size, device=device, normalisation=normalisation(config.backbone))


def _read_data(
    config: TrainSaliencyConfig, size: tuple[int, int], listen: Reporter
) -> tuple[SaliencyDataset, SaliencyDataset, int]:
    """Find the pairs, try every file, and say what cannot be used before training starts."""
    reading = SampleSpec(size=size, sigma_px=config.sigma_px, max_pixels=config.max_pixels)
    layout = read_layout(Path(config.data))
    train, val = train_val_split(layout, config.val_fraction, config.seed)
    train, val = train[: config.limit], val[: config.limit]
    problems = Problems(dict(layout.unpaired))
    parts = []
    for name, examples in (("training", train), ("validation", val)):
        prepared = _prepare(examples, reading, config.cache, f"reading {name} images", listen)
        problems.merge(prepared.problems)
        parts.append(prepared)
    for line in problems.lines():
        listen(Note(f"left out, {line}", "warning"))
    if config.strict and problems.count():
        raise DataError(f"{problems.count()} problems in the data and --strict is set: {problems.first()}")
    for name, prepared in zip(("training", "validation"), parts, strict=True):
        if not prepared.examples:
            raise DataError(f"{config.data}: no usable {name} image is left: {problems.first()}")
    kept = parts[0].cached is not None
    listen(
        Note(
            f"{len(parts[0].examples)} training and {len(parts[1].examples)} validation images at "
            f"{reading.size[0]}x{reading.size[1]}, {'kept in memory' if kept else 'read anew each epoch'}"
        )
    )
    train_set = SaliencyDataset(
        parts[0].examples, reading, cached=parts[0].cached, augmentation=config.augment, seed=config.seed
    )
    return train_set, SaliencyDataset(parts[1].examples, reading, cached=parts[1].cached), problems.count()


def _prepare(examples: list[Example], reading: SampleSpec, cache: str, title: str, listen: Reporter) -> Prepared:
    listen(Stage(title, len(examples)))
    prepared = prepare(examples, reading, cache, cpu_count(), lambda done: listen(Step(done)))
    listen(StageEnd())
    return prepared


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a run: learning curves after every epoch, and samples of input, target and prediction."""

    folder: RunFolder
    config: TrainSaliencyConfig
    predictor: SaliencyPredictor
    data: SaliencyDataset

    def after_epoch(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves, and the samples with the current weights."""
        title = f"{self.config.model} on {Path(self.config.data).name}"
        write_atomic(self.folder.path / "curves.png", render.curves(history, title=title, best_epoch=best_epoch))
        self._draw("latest.png")

    def of_best(self) -> None:
        """Draw the samples with the weights of ``best.pt``."""
        content = checkpoint.load(self.folder.best, KIND)
        self.predictor.model.load_state_dict(content["weights"])
        self._draw("best.png")

    def _draw(self, name: str) -> None:
        count = min(self.config.samples, len(self.data))
        if count == 0:
            return
        indices = [round(i * (len(self.data) - 1) / max(1, count - 1)) for i in range(count)]
        rows, captions = [], []
        samples = [self.data[(0, index)] for index in indices]
        images = torch.stack([sample["image"] for sample in samples])
        maps = self.predictor(images, [self.predictor.size] * len(images))
        for index, sample, predicted in zip(indices, samples, maps, strict=True):
            image = read_image(self.data.examples[index].image, self.config.max_pixels)
            target = sample["target"][0].numpy()
            rows.append([image, render.colourise(target), render.colourise(predicted.float().cpu().numpy())])
            captions.append(Path(self.data.name(index)).name)
        sheet = render.contact_sheet(rows, titles=["input", "human", "predicted"], captions=captions)
        write_atomic(self.folder.path / "samples" / name, render.encode_png(sheet))
