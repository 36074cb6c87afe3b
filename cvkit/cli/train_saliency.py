"""``cvkit train-saliency``."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import Console, ProgressMode
from cvkit.cli.session import session, settings
from cvkit.config import TrainSaliencyConfig as C
from cvkit.config import parse_size

MODEL, DATA = "Model", "Data"


def train_saliency(
    data: Annotated[str, typer.Option(help="Data set folder, or a manifest CSV.", rich_help_panel=DATA)],
    model: Annotated[
        str, typer.Option(help="mlnet, mlnet-paper, encoder-decoder or salgan.", rich_help_panel=MODEL)
    ] = C.model,
    backbone: Annotated[
        str,
        typer.Option(help="For mlnet: vgg16, another torchvision network, or timm:NAME.", rich_help_panel=MODEL),
    ] = C.backbone,
    weights: Annotated[
        str, typer.Option(help="Start of the backbone: imagenet, none or a file.", rich_help_panel=MODEL)
    ] = C.weights,
    size: Annotated[
        str | None,
        typer.Option(help="Pixels the network sees.", metavar="HxW", show_default="the model's", rich_help_panel=MODEL),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(help="auto, mlnet, bce, kl, kl-cc or kl-cc-nss; auto is the model's.", rich_help_panel=o.TRAINING),
    ] = C.loss,
    alpha: Annotated[
        float | None,
        typer.Option(help="alpha of the mlnet loss.", show_default="the model's", rich_help_panel=o.TRAINING),
    ] = C.alpha,
    dropout: Annotated[
        float | None,
        typer.Option(help="Probability to drop.", show_default="the model's", rich_help_panel=MODEL),
    ] = C.dropout,
    prior: Annotated[
        bool | None,
        typer.Option("--prior/--no-prior", help="Learned prior.", show_default="the model's", rich_help_panel=MODEL),
    ] = C.prior,
    zero_bias: Annotated[
        bool | None,
        typer.Option(
            "--zero-bias/--keep-bias",
            help="Set the biases of pretrained weights to zero, as the ML-Net exercise has it.",
            show_default="zero for mlnet on vgg16",
            rich_help_panel=MODEL,
        ),
    ] = C.zero_bias,
    freeze: Annotated[
        str, typer.Option(help="none, backbone, or the epochs the backbone stays as it is.", rich_help_panel=MODEL)
    ] = C.freeze,
    backbone_lr: Annotated[
        float, typer.Option(help="A pretrained backbone's share of --lr.", rich_help_panel=o.TRAINING)
    ] = C.backbone_lr,
    augment: Annotated[
        str, typer.Option(help="none, flip, or full (flip, crop, colours).", rich_help_panel=DATA)
    ] = C.augment,
    val_fraction: Annotated[
        float, typer.Option(help="Share set aside where there is no val split.", rich_help_panel=DATA)
    ] = C.val_fraction,
    sigma_px: o.SigmaPx = C.sigma_px,
    cache: Annotated[
        str, typer.Option(help="auto, ram or none: keep decoded images in memory.", rich_help_panel=DATA)
    ] = C.cache,
    strict: Annotated[
        bool, typer.Option("--strict", help="Unpaired or unreadable files are an error.", rich_help_panel=DATA)
    ] = C.strict,
    limit: Annotated[
        int | None, typer.Option(help="Use the first N images of each split only.", rich_help_panel=DATA)
    ] = C.limit,
    samples: Annotated[int, typer.Option(help="Validation images in the sample pictures.")] = C.samples,
    max_pixels: o.MaxPixels = C.max_pixels,
    epochs: o.Epochs = C.epochs,
    batch_size: o.BatchSize = "auto",
    lr: o.Lr = C.lr,
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
        typer.Option(help="What picks best.pt: cc, sim, kl, nss, auc_judd, loss.", rich_help_panel=o.TRAINING),
    ] = C.best_metric,
    resume: o.Resume = C.resume,
    out: Annotated[str | None, typer.Option(help="Run folder.", show_default="runs/train-saliency/MODEL-N")] = C.out,
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
    """Train a saliency network on eye fixations; leaves a run folder with the best weights, curves and samples."""
    asked = locals()
    with session(progress, quiet, json) as console:
        config = settings(C, asked, size=parse_size("--size", size) if size else None)
        from cvkit.commands.train_saliency import train_saliency as task

        result = task(config, console.listen)
        console.result(result)
        _show(console, result.best)
        console.lines(f"best epoch {result.best_epoch} of {result.epochs}: {result.folder}/best.pt")


def _show(console: Console, best: Mapping[str, float]) -> None:
    names = [name for name in best if name.startswith("val_")]
    console.table([name.removeprefix("val_") for name in names], [[best[name] for name in names]])
