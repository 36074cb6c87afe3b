"""Present ``cvkit predict``."""

from typing import TYPE_CHECKING

from cvkit.cli.batches import show_batch
from cvkit.cli.command import USE, Command
from cvkit.cli.console import Console
from cvkit.config import PredictConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.engine.streaming.batch import BatchResult


def _run(config: PredictConfig, report: Reporter) -> "BatchResult":
    with without_collector():
        from cvkit.commands.predict import predict

    return predict(config, report)


def _show(console: Console, result: "BatchResult") -> None:
    show_batch(console, result, "maps")


COMMAND = Command(
    name="predict",
    help="Predict a saliency map for every image. Writes PNG or NumPy maps into a folder that mirrors the inputs.",
    config=PredictConfig,
    run=_run,
    show=_show,
    panel=USE,
    page="predict.md",
)
