"""``cvkit sample-data``."""

from typing import Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import ProgressMode
from cvkit.cli.session import session, settings
from cvkit.config import SampleFixationsConfig, parse_size

C = SampleFixationsConfig
app = typer.Typer(help="Make a generated data set.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make a generated data set."""


@app.command("fixations")
def fixations(
    out: Annotated[str, typer.Argument(help="Folder to make.", metavar="DIR")],
    train: Annotated[int, typer.Option(help="Training displays.")] = C.train,
    val: Annotated[int, typer.Option(help="Validation displays.")] = C.val,
    size: Annotated[str, typer.Option(help="Pixels of a display.", metavar="HxW")] = f"{C.size[0]}x{C.size[1]}",
    sigma_px: o.SigmaPx = C.sigma_px,
    overwrite: o.Overwrite = C.overwrite,
    seed: o.Seed = C.seed,
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Make pop-out displays with the fixations of simulated viewers: images, maps and fixation points."""
    asked = locals()
    with session(progress, quiet, json) as console:
        config = settings(C, asked, size=parse_size("--size", size))
        from cvkit.commands.sample_data import sample_fixations as task

        result = task(config, console.listen)
        console.result(result)
        console.lines(f"{result.train} training and {result.val} validation displays in {result.folder}")
