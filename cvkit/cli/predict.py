"""``cvkit predict``."""

from typing import Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import ProgressMode
from cvkit.cli.session import finish_batch, session, settings
from cvkit.config import PredictConfig as C
from cvkit.config import parse_shard, parse_size
from cvkit.errors import UsageError


def predict(
    inputs: o.Inputs,
    checkpoint: o.Checkpoint,
    out: o.ResultFolder = C.out,
    format: Annotated[str, typer.Option(help="png (8 bits), png16 or npy (float32).")] = C.format,
    size: Annotated[str, typer.Option(help="input (each image's own) or HxW in pixels.")] = "input",
    blur_px: Annotated[float, typer.Option(help="Sigma of a Gaussian laid over the map, in its pixels.")] = C.blur_px,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write the map laid over the image (NAME.overlay.jpg).")
    ] = C.overlay,
    colormap: o.ColorMap = C.colormap,
    alpha: o.Alpha = C.alpha,
    overwrite: o.Overwrite = C.overwrite,
    shard: o.Shard = "1/1",
    max_pixels: o.MaxPixels = C.max_pixels,
    batch_size: o.BatchSize = "auto",
    device: o.Device = C.device,
    devices: o.Devices = C.devices,
    nodes: o.Nodes = C.nodes,
    precision: o.Precision = C.precision,
    workers: o.Workers = C.workers,
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Predict a saliency map for every image: PNG maps in a folder that mirrors the inputs."""
    asked = locals()
    if size != "input" and "x" not in size.lower():
        raise UsageError(f"--size {size!r}: write input, or height x width in pixels such as 180x320.")
    read = {"size": None if size == "input" else parse_size("--size", size), "shard": parse_shard(shard)}
    with session(progress, quiet, json) as console:
        config = settings(C, asked, inputs=tuple(inputs), **read)
        from cvkit.commands.predict import predict as task

        result = task(config, console.listen)
        console.result(result)
        finish_batch(console, result.counts, result.folder, "maps")
