"""Present ``cvkit evaluate``."""

from typing import TYPE_CHECKING

import typer

from cvkit.cli.command import USE, Command
from cvkit.cli.console import Console
from cvkit.cli.metrics import show_metrics
from cvkit.config import EvaluateConfig
from cvkit.errors import ExitCode
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.evaluate import ClassifierResult, SaliencyResult


def _run(config: EvaluateConfig, report: Reporter) -> "SaliencyResult | ClassifierResult":
    with without_collector():
        from cvkit.commands.evaluate import evaluate

    return evaluate(config, report)


def show_scores(console: Console, result: "SaliencyResult") -> None:
    """Print the mean scores of an evaluation, one row per source of maps."""
    columns = list(next(iter(result.scores.values())))
    rows = [[name, *(means[column].mean for column in columns)] for name, means in result.scores.items()]
    scored = result.images - len(result.failed)
    console.table([f"{result.protocol}, {result.split}, {scored} images", *columns], rows)


def _show(console: Console, result: "SaliencyResult | ClassifierResult") -> None:
    from cvkit.commands.evaluate import ClassifierResult

    if isinstance(result, ClassifierResult):
        show_metrics(console, {result.split: result.metrics}, heading=result.model)
        written = "metrics.json, tables and pictures in {}"
    else:
        show_scores(console, result)
        written = "scores in {}/scores.csv, means with 95 % intervals in summary.json"
    if result.out:
        console.lines(written.format(result.out))
    if result.failed:
        raise typer.Exit(ExitCode.PARTIAL)


COMMAND = Command(
    name="evaluate",
    help="Score a classifier on labelled images, or saliency maps or a saliency network against eye fixations.",
    config=EvaluateConfig,
    run=_run,
    show=_show,
    panel=USE,
    page="metrics.md",
)
