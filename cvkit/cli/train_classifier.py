"""Present ``cvkit train-classifier``."""

from typing import TYPE_CHECKING

from cvkit.cli.command import TRAIN, Command
from cvkit.cli.console import Console
from cvkit.cli.metrics import show_metrics
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
    show_metrics(console, result.metrics)
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
