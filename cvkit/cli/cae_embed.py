"""Present ``cvkit cae-embed``."""

from typing import TYPE_CHECKING

from cvkit.cli.batches import exit_partial
from cvkit.cli.command import TRAIN, Command
from cvkit.cli.console import Console
from cvkit.config import CaeEmbedConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.cae_embed import CaeEmbedResult

COLUMNS = ("bce", "mse", "knn_accuracy", "trustworthiness", "continuity")


def _run(config: CaeEmbedConfig, report: Reporter) -> "CaeEmbedResult":
    with without_collector():
        from cvkit.commands.cae_embed import cae_embed

    return cae_embed(config, report)


def _show(console: Console, result: "CaeEmbedResult") -> None:
    rows = [[name, *(getattr(scores, column) for column in COLUMNS)] for name, scores in result.metrics.items()]
    console.table(["test images", *COLUMNS], rows)
    counts = " and ".join(f"{count} {split}" for split, count in result.images.items())
    failed = f", {result.failed} failed (failures.csv)" if result.failed else ""
    console.lines(f"{counts} images embedded in {result.folder}{failed}")
    if result.failed:
        exit_partial(console, result.folder)


COMMAND = Command(
    name="cae-embed",
    help="Embed a data set with a convolutional autoencoder. Writes codes, scores beside those of PCA, and pictures.",
    config=CaeEmbedConfig,
    run=_run,
    show=_show,
    panel=TRAIN,
    page="embed.md",
)
