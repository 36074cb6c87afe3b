"""``cvkit classify``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import Console, ProgressMode, bar
from cvkit.cli.session import finish_batch, session, settings, shown
from cvkit.config import ClassifyConfig as C
from cvkit.config import parse_shard

if TYPE_CHECKING:
    from cvkit.commands.classify import ClassifyResult

SHOWN = 100  # images in the table on the screen; results.csv has them all


def classify(
    inputs: o.Inputs,
    model: o.Classifier,
    weights: o.ClassifierWeights = C.weights,
    labels: o.Labels = C.labels,
    out: o.ClassifierFolder = C.out,
    top: Annotated[int, typer.Option(help="Classes an image.")] = C.top,
    format: Annotated[
        str, typer.Option(help="csv, or json or parquet beside it (results.json, results.parquet).")
    ] = C.format,
    truth: Annotated[
        str | None,
        typer.Option(
            help="The true classes, for the accuracy: a CSV file with image and class_index, class_id or label, "
            "or folders (each image lies in a folder named by its class).",
            metavar="FILE|folders",
        ),
    ] = C.truth,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Also write the accuracy of each class (per_class.csv).")
    ] = C.per_class,
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
    """Name what is in every image: its most likely classes and their probabilities."""
    asked = locals()
    read = {"inputs": tuple(inputs), "shard": parse_shard(shard)}
    with session(progress, quiet, json) as console:
        config = settings(C, asked, **read)
        from cvkit.commands.classify import classify as task

        result = task(config, console.listen)
        if console.json_output:
            console.result({**shown(result), "rows": result.rows()})
        else:
            _show(console, result)
        finish_batch(console, result.batch.counts, result.batch.folder, "images classified, results")


def _show(console: Console, result: "ClassifyResult") -> None:
    rows, images = [], 0
    for row in result.rows():
        images += row["rank"] == 1
        if images > SHOWN:
            break
        name, share = row["image"] if row["rank"] == 1 else "", row["probability"]
        rows.append([name, row["label"] or row["class_index"], share, bar(share)])
    console.table(["image", "class", "probability", ""], rows, left=(1, 3))
    if images > SHOWN:
        console.lines(f"... the first {SHOWN} images; {result.batch.folder}/results.csv has them all.")
    if result.accuracy is not None:
        found = result.accuracy
        right = [
            [name, round(share.value * share.n), share.n, share.value, share.low, share.high]
            for name, share in (("top-1", found.top1), ("top-5", found.top5))
            if share.n
        ]
        console.table(["accuracy", "right", "images", "share", "95 % from", "to"], right)
