"""Describe a run before it starts."""

from lightning_fabric import Fabric

from cvkit.commands.train_classifier.reading import TrainingData
from cvkit.config import TrainClassifierConfig
from cvkit.config.values import format_size
from cvkit.progress import Facts
from cvkit.tasks.classification.learner import ClassifierLearner
from cvkit.tasks.classification.starting import StartedClassifier


def describe_run(
    settings: TrainClassifierConfig,
    fabric: Fabric,
    data: TrainingData,
    started: StartedClassifier,
    learner: ClassifierLearner,
) -> Facts:
    """Return the data, the network, the schedule and the device of a run."""
    images = ", ".join(f"{name} {len(part):,}" for name, part in data.splits().items())
    parameters = sum(p.numel() for p in started.network.parameters())
    plan, steps = learner.plan, started.facts.preprocessing
    fixed = sum(p.numel() for name, p in started.network.named_parameters() if name in plan.never)
    trained = f"{parameters - fixed:,} of {parameters:,} parameters"
    if plan.later:
        at_first = sum(p.numel() for n, p in started.network.named_parameters() if n not in plan.frozen(0))
        trained = f"{at_first:,} of {parameters:,} parameters, {parameters - fixed:,} after epoch {plan.unfreeze_at}"
    assert settings.lr is not None
    rates = f"{settings.lr:g}"
    if plan.later:
        rates += f", {settings.lr * plan.later_factor:g} after epoch {plan.unfreeze_at}"
    processes = f" in each of {fabric.world_size} processes" if fabric.world_size > 1 else ""
    return Facts(
        f"{settings.model} on {settings.data}",
        (
            ("images", images),
            ("classes", str(len(started.facts.labels))),
            ("input", f"{format_size(steps.crop)}, {steps.interpolation}, mean {steps.mean}, std {steps.std}"),
            ("weights", started.weights or "random"),
            ("trained", trained),
            ("recipe", f"{settings.recipe}: {settings.optimizer}, {settings.schedule}, {settings.epochs} epochs"),
            ("learning rate", rates),
            ("batch size", f"{settings.batch_size}{processes}"),
            ("device", f"{fabric.device}, {fabric.strategy.precision.precision}"),
        ),
    )
