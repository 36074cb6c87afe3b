"""Train or fine-tune an image classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from cvkit.commands.train_classifier.facts import describe_run
from cvkit.commands.train_classifier.finishing import score_run
from cvkit.commands.train_classifier.pictures import RunPictures
from cvkit.commands.train_classifier.reading import (
    FoundImages,
    TrainingData,
    class_counts,
    find_images,
    read_images,
    write_splits,
)
from cvkit.config import TrainClassifierConfig
from cvkit.config.train_classifier import training_config
from cvkit.data.splits import TEST
from cvkit.engine.distributed import start_fabric
from cvkit.engine.run_folder import RunFolder, check_same_data, opened_run, write_config
from cvkit.engine.stop import STOPPED_BEFORE_TRAINING, StopSignal, interruptible
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import Job
from cvkit.engine.training.learner import Data
from cvkit.errors import DataError
from cvkit.processes import worker_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages, FeatureBatches
from cvkit.tasks.classification.features import compute_features, find_last_layers
from cvkit.tasks.classification.freezing import make_plan
from cvkit.tasks.classification.kind import KIND
from cvkit.tasks.classification.learner import ClassifierLearner
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
    own_report = report if fabric.global_rank == 0 else ignore
    # In this order, so that a mistake in --data shows before weights are downloaded, and one in --weights before all
    # images are read.
    found = find_images(settings, own_report)
    if config.test and TEST not in found.splits.images:
        raise DataError(f"--test: {config.data} has no test images; add a third part to --split, such as 75/15/10.")
    started = start_classifier(settings, found.classes, own_report)
    plan = make_plan(started.network, started.head, settings)
    with opened_run(config, Path(f"runs/{COMMAND}/{config.model.replace(':', '-')}"), fabric) as folder:
        own_report(class_counts(found))
        if started.note:
            own_report(Note(started.note, "warning"))
        with StopSignal() as stop:
            stoppable = interruptible(stop, own_report, STOPPED_BEFORE_TRAINING)
            data = read_images(settings, found, started.facts.preprocessing, stoppable)
        check_same_data(folder, config, data.identity())
        classifier = Classifier(started.network, started.facts, device=fabric.device)
        learner = ClassifierLearner(classifier, settings, plan, data.train, len(found.classes))
        learner.facts = {**classifier.metadata(), "spec": started.spec.as_dict(), "config": config.as_dict()}
        learner.switch_gradients = fabric.world_size == 1
        if fabric.global_rank == 0:
            _write_facts(folder, config, settings, found, data, started)
        own_report(describe_run(settings, fabric, data, started, learner))
        pictures = RunPictures(folder, config, classifier, data.val)
        if fabric.global_rank == 0 and folder.has_state:
            pictures.draw_missing()  # before the training loads the weights of last.pt
        train, val = _batches(settings, fabric, learner, data, started, own_report)
        result = fit(_make_job(settings, learner, (train, val), data, folder, pictures), fabric, report)
        metrics = score_run(folder, classifier, data, settings, own_report) if fabric.global_rank == 0 else {}
        fabric.barrier()
    return TrainClassifierResult(
        folder=folder.path,
        best_epoch=result.best_epoch,
        best=result.best,
        epochs=len(result.history),
        classes=found.classes,
        images={name: len(part) for name, part in data.splits().items()},
        parameters=sum(p.numel() for p in classifier.network.parameters()),
        unreadable=len(data.failures),
        metrics=metrics,
    )


def _write_facts(
    folder: RunFolder,
    config: TrainClassifierConfig,
    settings: TrainClassifierConfig,
    found: FoundImages,
    data: TrainingData,
    started: StartedClassifier,
) -> None:
    """Write ``config.json`` and ``splits.csv``."""
    changed = {name: value for name, value in settings.as_dict().items() if value != config.as_dict()[name]}
    facts = {
        **changed,
        "preprocessing": started.facts.preprocessing.as_dict(),
        "weights_file": started.weights or "random",
        "classes": list(found.classes),
        "parameters": sum(p.numel() for p in started.network.parameters()),
        **data.identity(),
    }
    write_config(folder, COMMAND, config.as_dict(), facts)
    write_splits(folder, found)


def _batches(
    settings: TrainClassifierConfig,
    fabric: Fabric,
    learner: ClassifierLearner,
    data: TrainingData,
    started: StartedClassifier,
    report: Reporter,
) -> tuple[Data, Data]:
    """Return the training and validation data: images, or features where all other layers stay fixed."""
    is_fixed = learner.plan.never == {name for name, _ in learner.model.named_parameters()} - set(started.head)
    mixes = bool(settings.mixup or settings.cutmix)
    if not is_fixed or data.train.augmentation is not None or mixes or fabric.world_size > 1:
        return data.train, data.val
    classifier = learner.runner
    module = find_last_layers(classifier.network, started.head, (3, *started.spec.size))
    if module is None:
        return data.train, data.val
    parts = []
    for name, images in (("training", data.train), ("validation", data.val)):
        report(Stage(f"computing features of {name} images", len(images)))
        plain = ClassImages(images.reader, cached=images.cached, seed=images.seed)
        features = compute_features(classifier, module, plain, lambda done: report(Step(done)))
        report(StageEnd())
        parts.append(FeatureBatches(images, features))
    learner.last_layers = module
    report(Note("the frozen layers were run once: each epoch trains the last layer on their features"))
    return parts[0], parts[1]


def _make_job(
    settings: TrainClassifierConfig,
    learner: ClassifierLearner,
    batches: tuple[Data, Data],
    data: TrainingData,
    folder: RunFolder,
    pictures: RunPictures,
) -> Job:
    assert settings.lr is not None and settings.batch_size is not None
    return Job(
        learner=learner,
        train=batches[0],
        val=batches[1],
        folder=folder,
        config=training_config(settings),
        lr=settings.lr,
        batch_size=settings.batch_size,
        workers=_choose_workers(settings, batches[0]),
        kind=KIND.checkpoint,
        after_epoch=pictures.draw_epoch,
        data=data.identity(),
    )


def _choose_workers(settings: TrainClassifierConfig, train: Data) -> int:
    """Return the number of loading processes: none by default if batches are in memory without augmentation."""
    if isinstance(train, FeatureBatches):
        return 0
    assert isinstance(train, ClassImages)
    if settings.workers is None and train.cached is not None and train.augmentation is None:
        return 0
    return worker_count(settings.workers)
