"""``cvkit gradcam``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import Console, ProgressMode
from cvkit.cli.session import finish_batch, session, settings, shown
from cvkit.config import GradcamConfig as C
from cvkit.config import parse_ranks, parse_shard
from cvkit.config.classifiers import METHODS
from cvkit.errors import UsageError

if TYPE_CHECKING:
    from cvkit.commands.gradcam import GradcamResult


def gradcam(
    inputs: o.Inputs,
    model: o.Classifier = C.model,
    weights: o.ClassifierWeights = C.weights,
    labels: o.Labels = C.labels,
    out: o.ClassifierFolder = C.out,
    rank: Annotated[
        str | None,
        typer.Option(
            help="Which of the predicted classes, the most likely being 1.", metavar="2|1-3|1,3", show_default="1"
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="A class instead, by name, index or WordNet id; may be repeated.", metavar="CLASS"
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Target layer; models show NAME lists them.", show_default="the last with places"),
    ] = C.layer,
    fit: Annotated[
        str, typer.Option(help="crop (as the weights want it, as classify does) or squash (the whole image).")
    ] = C.fit,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = C.method,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Average over the mirror image and three contrasts (6 passes).")
    ] = C.smooth,
    save: Annotated[
        str, typer.Option(help="What to write, of map, overlay, panel and npy.", metavar="KIND,...")
    ] = ",".join(C.save),
    format: Annotated[str, typer.Option(help="Of the map: png16, png (8 bits) or colour.")] = C.format,
    colormap: o.ColorMap = C.colormap,
    alpha: o.Alpha = C.alpha,
    faithfulness: Annotated[
        bool,
        typer.Option(
            "--faithfulness",
            help="Also score each map: average drop, increase in confidence, deletion, insertion, ROAD.",
        ),
    ] = C.faithfulness,
    overwrite: o.Overwrite = C.overwrite,
    shard: o.Shard = "1/1",
    max_pixels: o.MaxPixels = C.max_pixels,
    batch_size: o.BatchSize = "auto",
    device: o.Device = C.device,
    devices: o.Devices = C.devices,
    nodes: o.Nodes = C.nodes,
    precision: o.ClassifierPrecision = C.precision,
    workers: o.Workers = C.workers,
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Show where in an image a classifier finds a class: heat maps by Grad-CAM and its relatives."""
    asked = locals()
    kinds = tuple(dict.fromkeys(word.strip() for word in save.split(",") if word.strip()))
    if rank is not None and classes:
        raise UsageError("--rank and --class both say what to explain: use one of them.")
    read = {
        "rank": C.rank if rank is None else parse_ranks(rank),
        "classes": tuple(classes or ()),
        "save": kinds,
        "shard": parse_shard(shard),
    }
    with session(progress, quiet, json) as console:
        config = settings(C, asked, inputs=tuple(inputs), **read)
        from cvkit.commands.gradcam import gradcam as task

        result = task(config, console.listen)
        if console.json_output:
            console.result({**shown(result), "rows": result.rows(), "predictions": dict(result.predictions())})
        else:
            _show(console, result)
        finish_batch(console, result.batch.counts, result.batch.folder, "images explained, results")


def _show(console: Console, result: "GradcamResult") -> None:
    for image, classes in result.predictions():
        named = (f"{rank} {label} {share:.1%}" for rank, label, share in classes)
        console.lines(f"{image}: {', '.join(named)}")
    if result.faithfulness:
        scores = [[name, score.mean, score.low, score.high, score.n] for name, score in result.faithfulness.items()]
        console.table(["faithfulness", "mean", "95 % from", "to", "maps"], scores)
