"""Present ``cvkit sample-data``."""

from typing import TYPE_CHECKING

import typer

from cvkit.cli.command import TOOLS, Command, add_command
from cvkit.cli.console import Console
from cvkit.config import SampleFixationsConfig
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.sample_data import SampleDataResult

HELP = "Generate a data set."


def _run(config: SampleFixationsConfig, report: Reporter) -> "SampleDataResult":
    from cvkit.commands.sample_data import sample_fixations

    return sample_fixations(config, report)


def _show(console: Console, result: "SampleDataResult") -> None:
    console.lines(f"{result.train} training and {result.val} validation displays in {result.folder}")


FIXATIONS = Command(
    name="sample-data fixations",
    help="Generate pop-out displays with the fixations of simulated viewers. Writes images, maps and fixation points.",
    config=SampleFixationsConfig,
    run=_run,
    show=_show,
    panel=TOOLS,
    page="data.md",
)
COMMANDS = (FIXATIONS,)
app = typer.Typer(help=HELP, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Generate a data set."""


add_command(app, FIXATIONS)
