"""Train or fine-tune an image classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from cvkit.commands.train_classifier.batches import choose_batches, choose_workers
from cvkit.commands.train_classifier.facts import describe_run
from cvkit.commands.train_classifier.finishing import score_run
from cvkit.commands.train_classifier.reading import (
    FoundImages,
    TrainingData,
    check_same_classes,
    class_counts,
    find_images,
    read_images,
    write_splits,
)
from cvkit.config import TrainClassifierConfig
from cvkit.config.train_classifier import training_config
from cvkit.engine.distributed import start_fabric
from cvkit.engine.run_folder import RunFolder, check_same_data, opened_run, write_config
from cvkit.engine.stop import STOPPED_BEFORE_TRAINING, StopSignal, interruptible
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import FitResult, Job
from cvkit.engine.training.learner import Data
from cvkit.engine.training.pictures import RunPictures
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.freezing import TrainingPlan, make_plan
from cvkit.tasks.classification.kind import KIND
from cvkit.tasks.classification.learner import ClassifierLearner
from cvkit.tasks.classification.scoring import sample_indices, sample_sheet
from cvkit.tasks.classification.starting import StartedClassifier, start_classifier

COMMAND = "train-classifier"


@dataclass(frozen=True)
class TrainClassifierResult:
    """The run folder, its best epoch, and its scores.

    Attributes:
        folder: The run folder.
        best_epoch: Best epoch, from 1.
        best: Row of ``history.csv`` of that epoch.
        epochs: Number of trained epochs.
        classes: Names of the classes.
        images: Number of images by split.
        parameters: Number of parameters of the network.
        unreadable: Number of images that were left out.
        metrics: Content of ``metrics.json``: the scores of the best weights by split.
    """

    folder: Path
    best_epoch: int
    best: Mapping[str, Any]
    epochs: int
    classes: tuple[str, ...]
    images: Mapping[str, int]
    parameters: int
    unreadable: int
    metrics: Mapping[str, Mapping[str, Any]]


def train_classifier(config: TrainClassifierConfig, report: Reporter = ignore) -> TrainClassifierResult:
    """Check the data, build the network, train it, score it, and write a run folder with pictures.

    Raises:
        DataError: If there are not enough images or classes, or with ``strict`` if an image cannot be read.
        UsageError: If the network or one of its layers does not exist.
        WeightsError: If the weights are not available or do not fit.
        OutputError: If the folder is in use.
        TrainingError: If the loss is not finite.
        StoppedBySignal: If a signal stopped the command after saving.
    """
    settings = config.resolved()
    fabric = start_fabric(config, deterministic=config.deterministic)
    is_main = fabric.global_rank == 0
    own_report = report if is_main else ignore
    # In this order, so that a mistake in --data shows before weights are downloaded, and one in --weights before all
    # images are read.
    found = find_images(settings, own_report)
    started = start_classifier(settings, found.classes, own_report)
    plan = make_plan(started.network, started.head, settings)
    if plan.frozen(0) and not started.weights:
        own_report(Note("the frozen layers have random weights: start from pretrained ones", "warning"))
    with opened_run(config, Path(f"runs/{COMMAND}/{config.model.replace(':', '-')}"), fabric) as folder:
        check_same_classes(folder, config, found.classes)
        own_report(class_counts(found))
        with StopSignal() as stop:
            stoppable = interruptible(stop, own_report, STOPPED_BEFORE_TRAINING)
            data = read_images(settings, found, started.facts.preprocessing, stoppable)
        check_same_data(folder, config, data.identity())
        learner = _make_learner(config, fabric, plan, data, started)
        if is_main:
            _write_facts(folder, config, found, data, started)
        own_report(describe_run(settings, fabric, data, started, learner, folder.path))
        result = _train(config, fabric, folder, data, learner, report)
        metrics = score_run(folder, learner.classifier, data, settings, own_report) if is_main else {}
        fabric.barrier()
    return _make_result(folder, result, data, learner, metrics)


def _make_result(
    folder: RunFolder,
    result: FitResult,
    data: TrainingData,
    learner: ClassifierLearner,
    metrics: Mapping[str, Mapping[str, Any]],
) -> TrainClassifierResult:
    return TrainClassifierResult(
        folder=folder.path,
        best_epoch=result.best_epoch,
        best=result.best,
        epochs=len(result.history),
        classes=learner.classifier.facts.labels,
        images={name: len(part) for name, part in data.splits().items()},
        parameters=sum(p.numel() for p in learner.model.parameters()),
        unreadable=len(data.failures),
        metrics=metrics,
    )


def _make_learner(
    config: TrainClassifierConfig, fabric: Fabric, plan: TrainingPlan, data: TrainingData, started: StartedClassifier
) -> ClassifierLearner:
    classifier = Classifier(started.network, started.facts, spec=started.spec, device=fabric.device)
    return ClassifierLearner(
        classifier,
        config.resolved(),
        plan,
        data.train,
        facts={**classifier.metadata(), "config": config.as_dict()},
        switch_gradients=fabric.world_size == 1,
    )


def _train(
    config: TrainClassifierConfig,
    fabric: Fabric,
    folder: RunFolder,
    data: TrainingData,
    learner: ClassifierLearner,
    report: Reporter,
) -> FitResult:
    settings = config.resolved()
    assert settings.lr is not None and settings.batch_size is not None
    train, val = choose_batches(learner, data, report) if fabric.world_size == 1 else (data.train, data.val)
    pictures = RunPictures(
        folder=folder,
        title=f"{config.model} on {Path(config.data).name}",
        network=learner.model,
        kind=KIND.checkpoint,
        draw_samples=partial(_draw_samples, learner, data.val, val, config.samples) if config.samples else None,
    )
    if fabric.global_rank == 0 and folder.has_state:
        pictures.draw_missing()  # before the training loads the weights of last.pt
    job = Job(
        learner=learner,
        train=train,
        val=val,
        folder=folder,
        config=training_config(settings),
        lr=settings.lr,
        batch_size=settings.batch_size,
        workers=choose_workers(settings.workers, train),
        kind=KIND.checkpoint,
        after_epoch=pictures.draw_epoch,
        data=data.identity(),
    )
    try:
        return fit(job, fabric, report)
    finally:
        pictures.finish()


def _draw_samples(learner: ClassifierLearner, images: ClassImages, val: Data, count: int) -> bytes:
    """Return a sheet of validation images, classified as the validation does: from images or from features."""
    indices = sample_indices(len(images), count)
    probabilities = learner.predict(val.batch(0, indices)).softmax(1).cpu()
    return sample_sheet(images, indices, probabilities, learner.classifier.facts.labels)


def _write_facts(
    folder: RunFolder,
    config: TrainClassifierConfig,
    found: FoundImages,
    data: TrainingData,
    started: StartedClassifier,
) -> None:
    """Write ``config.json`` and ``splits.csv``."""
    given = config.as_dict()
    facts = {
        **{name: value for name, value in config.resolved().as_dict().items() if value != given[name]},
        "preprocessing": started.facts.preprocessing.as_dict(),
        "weights_file": started.weights or "random",
        "classes": list(found.classes),
        "parameters": sum(p.numel() for p in started.network.parameters()),
        **data.identity(),
    }
    write_config(folder, COMMAND, given, facts)
    write_splits(folder, found)
