"""``cvkit evaluate``."""

from typing import Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import ProgressMode
from cvkit.cli.session import session, settings, show_scores
from cvkit.config import EvaluateConfig as C
from cvkit.errors import ExitCode

SCORES = "Scores"


def evaluate(
    data: Annotated[str, typer.Option(help="Data set folder, or a manifest CSV.")],
    maps: Annotated[str | None, typer.Option(help="Folder of maps to score, paired by stem.")] = C.maps,
    checkpoint: Annotated[str | None, typer.Option(help="Run whose model to score, without files between.")] = (
        C.checkpoint
    ),
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all.", show_default="val, else test, else all")
    ] = C.split,
    protocol: Annotated[
        str, typer.Option(help="mit or tuebingen: whose conventions to score by.", rich_help_panel=SCORES)
    ] = C.protocol,
    baseline: Annotated[
        str, typer.Option(help="What information gain is over: centre, mean or a map.", rich_help_panel=SCORES)
    ] = C.baseline,
    with_baselines: Annotated[
        bool,
        typer.Option(
            "--with-baselines",
            help="Also score the centre prior, the mean training map and one half of the viewers by the other.",
            rich_help_panel=SCORES,
        ),
    ] = C.with_baselines,
    shuffled_images: Annotated[
        int | None,
        typer.Option(
            help="Other images that the negatives of shuffled AUC come from.",
            show_default="10 under mit, all under tuebingen",
            rich_help_panel=SCORES,
        ),
    ] = C.shuffled_images,
    emd: Annotated[bool, typer.Option("--emd/--no-emd", help="Compute EMD (mit).", rich_help_panel=SCORES)] = C.emd,
    sigma_px: o.SigmaPx = C.sigma_px,
    out: Annotated[
        str | None, typer.Option(help="Folder for scores.csv and summary.json.", show_default="none written")
    ] = C.out,
    overwrite: o.Overwrite = C.overwrite,
    max_pixels: o.MaxPixels = C.max_pixels,
    device: o.Device = C.device,
    precision: o.Precision = C.precision,
    workers: o.Workers = C.workers,
    seed: o.Seed = C.seed,
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Score saliency maps, or a model, against where people looked."""
    asked = locals()
    with session(progress, quiet, json) as console:
        config = settings(C, asked)
        from cvkit.commands.evaluate import evaluate as task

        result = task(config, console.listen)
        console.result(result)
        show_scores(console, result)
        if result.out:
            console.lines(f"scores in {result.out}/scores.csv, means with 95 % intervals in summary.json")
    if result.failed:
        raise typer.Exit(ExitCode.PARTIAL)
