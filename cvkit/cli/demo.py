"""Present ``cvkit demo``: generate data, train, predict and evaluate in a few minutes."""

from pathlib import Path
from typing import TYPE_CHECKING

from cvkit.cli.command import TOOLS, Command
from cvkit.cli.console import Console
from cvkit.cli.evaluate import show_scores
from cvkit.config import DemoConfig
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.demo import DemoResult


def _run(config: DemoConfig, report: Reporter) -> "DemoResult":
    from cvkit.commands.demo import demo

    return demo(config, report)


def _show(console: Console, result: "DemoResult") -> None:
    run = Path(result.run)
    show_scores(console, result.scores)
    console.lines(f"input, human and predicted maps: {run}/samples/best.png", f"learning curves: {run}/curves.png")


COMMAND = Command(
    name="demo",
    help="Show the main steps on generated data: train, predict and evaluate, in under 5 minutes on two cores.",
    config=DemoConfig,
    run=_run,
    show=_show,
    document=lambda result: result.scores,
    panel=TOOLS,
    page="quickstart.md",
    settings=False,
)
