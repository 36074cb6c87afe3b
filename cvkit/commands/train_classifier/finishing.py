"""Score the best weights of a run at its end."""

from typing import Any

from cvkit.commands.train_classifier.reading import TrainingData, without_augmentation
from cvkit.config import TrainClassifierConfig
from cvkit.data.splits import TEST, TRAIN, VAL
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.stop import StopSignal, interruptible
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.files import write_json
from cvkit.progress import Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.evaluation import metrics_document
from cvkit.tasks.classification.kind import KIND
from cvkit.tasks.classification.scoring import score_images, write_reports

STOPPED_BEFORE_SCORING = "stopped by a signal; the training is complete: `cvkit resume RUN` scores it."


def score_run(
    folder: RunFolder,
    classifier: Classifier,
    data: TrainingData,
    settings: TrainClassifierConfig,
    report: Reporter,
) -> dict[str, dict[str, Any]]:
    """Score the weights of ``best.pt`` on every split, and write ``metrics.json``, ``report.csv`` and the pictures.

    The test images are scored with ``settings.test`` only. The report and the pictures show the test images if they are
    scored, else the validation images.

    Returns:
        The content of ``metrics.json``: the scores by split.
    """
    load_best_weights(folder, KIND.checkpoint, classifier.network)
    names = [TRAIN, VAL, *([TEST] if settings.test else [])]
    metrics = {}
    with StopSignal() as stop:
        stoppable = interruptible(stop, report, STOPPED_BEFORE_SCORING.replace("RUN", str(folder.path)))
        for name in names:
            images = data.splits()[name]
            images = without_augmentation(images) if name == TRAIN else images
            stoppable(Stage(f"scoring {name} images", len(images)))
            scored = score_images(classifier, images, settings.batch_size or 1, lambda done: stoppable(Step(done)))
            stoppable(StageEnd())
            metrics[name] = metrics_document(scored.scores)
            if name == names[-1]:
                title = f"{settings.model}, {name} images"
                write_reports(folder.path, scored, classifier.facts.labels, title)
    write_json(folder.path / "metrics.json", metrics)
    return metrics
