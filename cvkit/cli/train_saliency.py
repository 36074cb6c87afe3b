"""Present ``cvkit train-saliency``."""

from typing import TYPE_CHECKING

from cvkit.cli.command import TRAIN, Command
from cvkit.cli.console import Console
from cvkit.config import TrainSaliencyConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.train_saliency import TrainSaliencyResult


def _run(config: TrainSaliencyConfig, report: Reporter) -> "TrainSaliencyResult":
    with without_collector():
        from cvkit.commands.train_saliency import train_saliency

    return train_saliency(config, report)


def _show(console: Console, result: "TrainSaliencyResult") -> None:
    names = [name for name in result.best if name.startswith("val_")]
    console.table([name.removeprefix("val_") for name in names], [[result.best[name] for name in names]])
    console.lines(f"best epoch {result.best_epoch} of {result.epochs}: {result.folder}/best.pt")


COMMAND = Command(
    name="train-saliency",
    help="Train a saliency network on eye fixations. Writes a run folder with the best weights, curves and samples.",
    config=TrainSaliencyConfig,
    run=_run,
    show=_show,
    panel=TRAIN,
    page="train-saliency.md",
)
