"""``cvkit export``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import Console, ProgressMode
from cvkit.cli.session import session, settings
from cvkit.config import ExportConfig as C
from cvkit.config import parse_words
from cvkit.errors import UsageError

if TYPE_CHECKING:
    from cvkit.commands.export.measuring import Row

GRAPH, FILE, PROOF = "Graph", "File", "Proof"


def export(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A run folder, a checkpoint, or a classifier by name.", metavar="RUN|NAME", show_default=False
        ),
    ] = None,
    inspect: Annotated[
        str | None, typer.Option(help="Print what an exported file says of itself.", metavar="FILE")
    ] = None,
    format: Annotated[
        str, typer.Option(help="onnx, pt2 (torch.export), safetensors or openvino.", rich_help_panel=FILE)
    ] = (C.format),
    out: Annotated[
        str | None, typer.Option(help="The file to write.", show_default="MODEL.FORMAT", rich_help_panel=FILE)
    ] = C.out,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file.", rich_help_panel=FILE)
    ] = C.overwrite,
    precision: Annotated[str, typer.Option(help="fp32 or fp16.", rich_help_panel=FILE)] = C.precision,
    opset: Annotated[int, typer.Option(help="ONNX's operator set.", rich_help_panel=FILE)] = C.opset,
    simplify: Annotated[
        bool, typer.Option("--simplify", help="Let onnxslim shorten the graph.", rich_help_panel=FILE)
    ] = (C.simplify),
    weights: o.ClassifierWeights = C.weights,
    labels: o.Labels = C.labels,
    part: Annotated[str, typer.Option(help="Of an autoencoder: encoder or whole.", rich_help_panel=GRAPH)] = C.part,
    dynamic: Annotated[
        str, typer.Option(help="Dimensions left open: batch, height, width; none.", rich_help_panel=GRAPH)
    ] = ",".join(C.dynamic),
    include_preprocessing: Annotated[
        bool, typer.Option("--include-preprocessing", help="Take bytes: scaling, mean and std.", rich_help_panel=GRAPH)
    ] = C.include_preprocessing,
    layout: Annotated[str, typer.Option(help="Of these bytes: nchw or nhwc.", rich_help_panel=GRAPH)] = C.layout,
    include_postprocessing: Annotated[
        bool,
        typer.Option(
            "--include-postprocessing", help="End in the --top classes, or in a map of 0..1.", rich_help_panel=GRAPH
        ),
    ] = C.include_postprocessing,
    top: Annotated[int, typer.Option(help="Classes that postprocessing gives.", rich_help_panel=GRAPH)] = C.top,
    with_cam: Annotated[
        bool, typer.Option("--with-cam", help="Also give the Grad-CAM map of the top class.", rich_help_panel=GRAPH)
    ] = C.with_cam,
    quantize: Annotated[
        str | None, typer.Option(help="int8: weights and activations in whole numbers.", rich_help_panel=FILE)
    ] = C.quantize,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="Images to quantise, verify and measure with.",
            metavar="DIR",
            show_default="scikit-image's photographs",
            rich_help_panel=PROOF,
        ),
    ] = C.calibrate,
    atol: Annotated[
        float | None,
        typer.Option(help="Largest difference allowed.", show_default="1e-4; fp16, int8: any", rich_help_panel=PROOF),
    ] = C.atol,
    rtol: Annotated[
        float | None,
        typer.Option(
            help="Largest share of the largest value.",
            show_default="0.001; fp16: 0.03; int8: 0.25",
            rich_help_panel=PROOF,
        ),
    ] = C.rtol,
    benchmark: Annotated[
        bool,
        typer.Option("--benchmark", help="Measure the file beside PyTorch, eager and compiled.", rich_help_panel=PROOF),
    ] = C.benchmark,
    truth: Annotated[
        str | None,
        typer.Option(
            help="The true classes of these images, as for classify: the benchmark's accuracy.",
            metavar="FILE|folders",
            rich_help_panel=PROOF,
        ),
    ] = C.truth,
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Write a model as a file that another program runs; it is run there and compared before it gets its name."""
    asked = locals()
    with session(progress, quiet, json) as console:
        if inspect is not None:
            if model is not None:
                raise UsageError(f"--inspect {inspect} stands alone: leave out {model}.")
            return _inspect(console, inspect)
        if model is None:
            raise UsageError("export: name a run folder, a checkpoint, or a classifier; or --inspect FILE.")
        words = () if dynamic == "none" else parse_words(dynamic)
        config = settings(C, asked, dynamic=words)
        from cvkit.commands.export import export as task

        result = task(config, console.listen)
        console.result(result)
        rows = [
            [
                f"{check.batch} x {check.height}x{check.width}",
                f"{check.absolute:.2g}",
                f"{check.relative:.2g}",
                check.agreement,
            ]
            for check in result.checks
        ]
        console.table(["verified on", "largest difference", "of the largest value", "same top class"], rows)
        if result.benchmark:
            _show_benchmark(console, result.benchmark)
        console.lines(f"{result.path}, {result.bytes / 1e6:.1f} MB")
        return None


def _show_benchmark(console: Console, rows: "list[Row]") -> None:
    shown = {"agreement": "same top class", "accuracy": "accuracy", "cc": "CC"}
    there = [name for name in shown if getattr(rows[0], name) is not None]
    heads = [
        "on the processor",
        f"images/s, batch {rows[0].batch}",
        "ms, batch 1",
        "MB",
        *(shown[name] for name in there),
    ]
    cells = [
        [row.name, f"{row.images_per_second:.1f}", f"{row.latency_ms:.2f}", f"{row.bytes / 1e6:.1f}"]
        + [f"{getattr(row, name):.5f}" for name in there]
        for row in rows
    ]
    console.table(heads, cells)


def _inspect(console: Console, path: str) -> None:
    from cvkit.commands.export import inspect

    facts = inspect(path)
    console.result(facts)
    if console.json_output:
        return
    from dataclasses import asdict

    for name, value in asdict(facts).items():
        shown = (
            f"{len(value)}: {', '.join(value[:3])}, ..."
            if name in ("labels", "class_ids") and len(value) > 3
            else value
        )
        console.lines(f"{name}: {shown}")
