"""Present ``cvkit train-classifier``."""

from typing import TYPE_CHECKING

from cvkit.cli.command import TRAIN, Command
from cvkit.cli.console import Console
from cvkit.config import TrainClassifierConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.train_classifier import TrainClassifierResult


def _run(config: TrainClassifierConfig, report: Reporter) -> "TrainClassifierResult":
    with without_collector():
        from cvkit.commands.train_classifier import train_classifier

    return train_classifier(config, report)


def _show(console: Console, result: "TrainClassifierResult") -> None:
    columns = ["split", "images", "accuracy", "95 % from", "to", "top-5", "ECE", "macro F1", "log loss"]
    rows = []
    for split, scores in result.metrics.items():
        others = [scores[name] for name in ("top5_accuracy", "ece", "macro_f1", "log_loss")]
        rows.append([split, scores["images"], scores["accuracy"], *(scores["ci95"] or (None, None)), *others])
    console.table(columns, rows)
    console.lines(f"best epoch {result.best_epoch} of {result.epochs}: {result.folder}/best.pt")


COMMAND = Command(
    name="train-classifier",
    help="Train or fine-tune an image classifier. Writes a run folder with the best weights, scores and pictures.",
    config=TrainClassifierConfig,
    run=_run,
    show=_show,
    panel=TRAIN,
    page="train-classifier.md",
)
