"""Present ``cvkit evaluate``."""

from typing import TYPE_CHECKING

import typer

from cvkit.cli.command import USE, Command
from cvkit.cli.console import Console
from cvkit.config import EvaluateConfig
from cvkit.errors import ExitCode
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.evaluate import EvaluateResult


def _run(config: EvaluateConfig, report: Reporter) -> "EvaluateResult":
    with without_collector():
        from cvkit.commands.evaluate import evaluate

    return evaluate(config, report)


def show_scores(console: Console, result: "EvaluateResult") -> None:
    """Print the mean scores of an evaluation, one row per source of maps."""
    columns = list(next(iter(result.scores.values())))
    rows = [[name, *(means[column].mean for column in columns)] for name, means in result.scores.items()]
    scored = result.images - len(result.failed)
    console.table([f"{result.protocol}, {result.split}, {scored} images", *columns], rows)


def _show(console: Console, result: "EvaluateResult") -> None:
    show_scores(console, result)
    if result.out:
        console.lines(f"scores in {result.out}/scores.csv, means with 95 % intervals in summary.json")
    if result.failed:
        raise typer.Exit(ExitCode.PARTIAL)


COMMAND = Command(
    name="evaluate",
    help="Score saliency maps or a saliency model against eye fixations.",
    config=EvaluateConfig,
    run=_run,
    show=_show,
    panel=USE,
    page="metrics.md",
)
