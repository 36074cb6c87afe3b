"""Choose the batches of a run: images, or the features of frozen layers."""

from cvkit.commands.train_classifier.reading import TrainingData
from cvkit.engine.memory import keep_activations
from cvkit.engine.training.learner import Data
from cvkit.processes import worker_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.data.dataset import ClassImages, FeatureBatches
from cvkit.tasks.classification.features import compute_features, find_last_layers
from cvkit.tasks.classification.learner import ClassifierLearner


def choose_batches(learner: ClassifierLearner, data: TrainingData, report: Reporter) -> tuple[Data, Data]:
    """Return the training and validation data of a run in one process.

    If all layers but the last one stay fixed and no image is augmented, the fixed layers run once, and every epoch
    trains the last layer on their features.
    """
    settings = learner.settings
    augmented = data.train.augmentation is not None or settings.mixup or settings.cutmix
    if augmented or not learner.plan.only_head:
        return data.train, data.val
    classifier, plan = learner.classifier, learner.plan
    learner.start_epoch(classifier.network, 0)
    head = [name for name, _ in classifier.network.named_parameters() if name not in plan.never]
    last_layers = find_last_layers(classifier.network, head, (3, *classifier.preprocessing.crop))
    if last_layers is None:
        return data.train, data.val
    if classifier.device.type == "cpu":
        keep_activations()
    parts = []
    for name, images in (("training", data.train), ("validation", data.val)):
        report(Stage(f"computing features of {name} images", len(images)))
        features = compute_features(classifier, last_layers, images, lambda done: report(Step(done)))
        report(StageEnd())
        parts.append(FeatureBatches(images, features))
    learner.last_layers = last_layers
    report(Note("the frozen layers ran once: every epoch trains the last layer on their features"))
    return parts[0], parts[1]


def choose_workers(requested: int | None, train: Data) -> int:
    """Return the number of loading processes: none for features; none by default for images that need no work."""
    if isinstance(train, FeatureBatches):
        return 0
    assert isinstance(train, ClassImages)
    if requested is None and train.cached is not None and train.augmentation is None:
        return 0
    return worker_count(requested)
