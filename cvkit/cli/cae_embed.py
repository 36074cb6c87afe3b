"""``cvkit cae-embed``."""

from typing import Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import ProgressMode
from cvkit.cli.session import session, settings
from cvkit.config import CaeEmbedConfig as C
from cvkit.config import parse_numbers, parse_size, parse_words
from cvkit.errors import ExitCode

DATA, MODEL, OUTPUT = "Data", "Model", "Output"


def cae_embed(
    data: Annotated[
        str,
        typer.Option(
            help="Folder with IDX files (MNIST's), with a folder for each class, or of images.", rich_help_panel=DATA
        ),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="Run folder or file: embed by it, without training.", metavar="RUN")
    ] = C.checkpoint,
    size: Annotated[
        str | None,
        typer.Option(
            help="Pixels the network sees.", metavar="HxW", show_default="the images', else 64x64", rich_help_panel=DATA
        ),
    ] = None,
    color: Annotated[str, typer.Option(help="auto, grey or rgb; auto is grey when all are.", rich_help_panel=DATA)] = (
        C.color
    ),
    test_fraction: Annotated[
        float, typer.Option(help="Share held out where there is no test split.", rich_help_panel=DATA)
    ] = C.test_fraction,
    limit: Annotated[
        int | None, typer.Option(help="At most so many images of each split, drawn by the seed.", rich_help_panel=DATA)
    ] = C.limit,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Names of the classes: a line each, CSV or JSON.",
            metavar="FILE",
            show_default="the folders', Fashion-MNIST's",
            rich_help_panel=DATA,
        ),
    ] = C.labels,
    strict: Annotated[
        bool, typer.Option("--strict", help="An unreadable image is an error.", rich_help_panel=DATA)
    ] = C.strict,
    max_pixels: o.MaxPixels = C.max_pixels,
    latent_dim: Annotated[int, typer.Option(help="Numbers in a code.", rich_help_panel=MODEL)] = C.latent_dim,
    widths: Annotated[
        str,
        typer.Option(help="Filters of the encoder's convolutions; the decoder's mirror them.", rich_help_panel=MODEL),
    ] = ",".join(map(str, C.widths)),
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Batch norm ahead of the ReLUs.", rich_help_panel=MODEL)
    ] = C.batch_norm,
    dropout: Annotated[float, typer.Option(help="Probability to drop.", rich_help_panel=MODEL)] = C.dropout,
    denoise: Annotated[
        bool, typer.Option("--denoise", help="Add Gaussian noise to what the network sees.", rich_help_panel=MODEL)
    ] = C.denoise,
    noise_sigma: Annotated[
        float, typer.Option(help="Its standard deviation; pixels are 0 to 1.", rich_help_panel=MODEL)
    ] = C.noise_sigma,
    embed: Annotated[str, typer.Option(help="Splits to embed: train, val, test.", rich_help_panel=OUTPUT)] = ",".join(
        C.embed
    ),
    format: Annotated[
        str, typer.Option(help="csv, parquet, npy, projector (TensorBoard's), or several.", rich_help_panel=OUTPUT)
    ] = ",".join(C.format),
    compare: Annotated[
        str, typer.Option(help="pca, tsne, umap (needs umap-learn), or several; none.", rich_help_panel=OUTPUT)
    ] = ",".join(C.compare),
    html: Annotated[
        bool, typer.Option("--html", help="Also one page on which hovering shows images.", rich_help_panel=OUTPUT)
    ] = C.html,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --checkpoint: replace what is there.", rich_help_panel=OUTPUT)
    ] = C.overwrite,
    out: Annotated[
        str | None,
        typer.Option(
            help="Run folder; result folder with --checkpoint.", show_default="runs/cae-embed/cae-N, or embeddings"
        ),
    ] = C.out,
    epochs: o.Epochs = C.epochs,
    batch_size: o.BatchSize = "auto",
    lr: Annotated[
        float | None, typer.Option(help="Learning rate.", rich_help_panel=o.TRAINING, show_default="0.002")
    ] = C.lr,
    optimizer: o.Optimizer = C.optimizer,
    weight_decay: o.WeightDecay = C.weight_decay,
    schedule: o.Schedule = C.schedule,
    warmup_epochs: o.WarmupEpochs = C.warmup_epochs,
    step_epochs: o.StepEpochs = C.step_epochs,
    step_factor: o.StepFactor = C.step_factor,
    clip_norm: o.ClipNorm = C.clip_norm,
    accumulate: o.Accumulate = C.accumulate,
    ema: o.Ema = C.ema,
    patience: o.Patience = C.patience,
    best_metric: Annotated[
        str,
        typer.Option(
            help="Whose weights embed: the last epoch's, or those of least test loss.", rich_help_panel=o.TRAINING
        ),
    ] = C.best_metric,
    resume: o.Resume = C.resume,
    device: o.Device = C.device,
    devices: o.Devices = C.devices,
    nodes: o.Nodes = C.nodes,
    precision: o.Precision = C.precision,
    compile: o.Compile = C.compile,
    deterministic: o.Deterministic = C.deterministic,
    workers: o.Workers = C.workers,
    seed: o.Seed = C.seed,
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Embed a data set by a convolutional autoencoder, and compare it with PCA: codes, scores and pictures."""
    asked = locals()
    with session(progress, quiet, json) as console:
        read = {name: parse_words(asked[name]) for name in ("embed", "format", "compare")}
        parsed_size = parse_size("--size", size) if size else None
        config = settings(C, asked, size=parsed_size, widths=parse_numbers("--widths", widths), **read)
        from cvkit.commands.cae_embed import cae_embed as task

        result = task(config, console.listen)
        console.result(result)
        columns = ("bce", "mse", "knn_accuracy", "trustworthiness", "continuity")
        rows = [[name, *(getattr(each, column) for column in columns)] for name, each in result.metrics.items()]
        console.table(["test images", *columns], rows)
        counts = " and ".join(f"{count} {name}" for name, count in result.images.items())
        failed = f", {result.failed} failed (failures.csv)" if result.failed else ""
        console.lines(f"{counts} images embedded in {result.folder}{failed}")
        if result.failed:
            console.failures(result.folder / "failures.csv")
            raise typer.Exit(ExitCode.PARTIAL)
