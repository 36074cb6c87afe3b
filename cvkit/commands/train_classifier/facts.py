"""Describe a run before it starts."""

from pathlib import Path

from lightning_fabric import Fabric

from cvkit.commands.train_classifier.reading import TrainingData
from cvkit.config import TrainClassifierConfig
from cvkit.config.preprocessing import format_rgb
from cvkit.config.train_classifier import training_config
from cvkit.config.values import format_size
from cvkit.engine.training.facts import Row, compute_rows, parameter_row
from cvkit.progress import Facts
from cvkit.tasks.classification.learner import ClassifierLearner
from cvkit.tasks.classification.starting import StartedClassifier


def describe_run(
    settings: TrainClassifierConfig,
    fabric: Fabric,
    data: TrainingData,
    started: StartedClassifier,
    learner: ClassifierLearner,
    folder: Path,
) -> Facts:
    """Return the data, the network, the schedule, the device and the folder of a run."""
    images = ", ".join(f"{name} {len(part):,}" for name, part in data.splits().items())
    steps = started.facts.preprocessing
    assert settings.batch_size is not None
    return Facts(
        "training",
        (
            ("data", f"{settings.data}: {images}, {len(started.facts.labels)} classes"),
            ("network", f"{settings.model}, input {format_size(steps.crop)}"),
            ("preprocessing", f"{steps.interpolation}, mean {format_rgb(steps.mean)}, std {format_rgb(steps.std)}"),
            ("weights", started.weights or "random"),
            parameter_row(learner.model),
            *_schedule(settings, learner),
            *compute_rows(training_config(settings), fabric, settings.batch_size),
            ("run folder", str(folder)),
        ),
    )


def _schedule(settings: TrainClassifierConfig, learner: ClassifierLearner) -> tuple[Row, ...]:
    plan = learner.plan
    assert settings.lr is not None
    rates = f"{settings.lr:g}"
    if settings.layer_decay != 1:
        rates += f" (last block), times {settings.layer_decay:g} from block to block"
    if not plan.later:
        return ("recipe", settings.recipe), ("learning rate", rates)
    parameters = dict(learner.model.named_parameters())
    first = sum(value.numel() for name, value in parameters.items() if name not in plan.frozen(0))
    rates += f", {settings.lr * plan.later_factor:g} after epoch {plan.unfreeze_at}"
    return (
        ("recipe", settings.recipe),
        ("frozen", f"all but {first:,} parameters until epoch {plan.unfreeze_at}"),
        ("learning rate", rates),
    )
