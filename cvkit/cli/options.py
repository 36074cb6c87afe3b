"""Each option that several commands share, written once."""

from typing import Annotated

import typer

from cvkit.cli.console import ProgressMode

COMPUTE, TRAINING, REPORT, INPUT = "Compute", "Training", "Reporting", "Inputs"

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=COMPUTE)]
Devices = Annotated[int, typer.Option(help="Processes on this node, a device each (DDP).", rich_help_panel=COMPUTE)]
Nodes = Annotated[int, typer.Option(help="Nodes that share the work.", rich_help_panel=COMPUTE)]
Precision = Annotated[
    str, typer.Option(help="auto, fp32, bf16 or fp16; auto is bf16 on a GPU that has it.", rich_help_panel=COMPUTE)
]
ClassifierPrecision = Annotated[
    str,
    typer.Option(help="fp32 (auto), bf16 or fp16; the latter two change results visibly.", rich_help_panel=COMPUTE),
]
BatchSize = Annotated[str, typer.Option(help="Images a batch, or auto.", rich_help_panel=COMPUTE, metavar="N|auto")]
Workers = Annotated[
    int | None, typer.Option(help="Loading workers.", rich_help_panel=COMPUTE, show_default="by the cores")
]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.", rich_help_panel=COMPUTE)]
MaxPixels = Annotated[int, typer.Option(help="Refuse larger images before they are decoded.", rich_help_panel=INPUT)]
Shard = Annotated[
    str, typer.Option(help="This job's share of the inputs, for job arrays.", rich_help_panel=COMPUTE, metavar="K/N")
]
Inputs = Annotated[
    list[str], typer.Argument(help="Images, folders, globs, @list.txt, or - for a list on stdin.", metavar="INPUTS...")
]
Classifier = Annotated[
    str,
    typer.Option(
        help="A classifier of torchvision (vgg16, mobilenet_v2.IMAGENET1K_V2) or timm (timm:NAME); see models list.",
        metavar="NAME",
    ),
]
ClassifierWeights = Annotated[
    str, typer.Option(help="pretrained, a file (of any number of classes), or none (random).", metavar="FILE")
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Names of the classes: a line each, CSV or JSON.", metavar="FILE", show_default="those of the weights"
    ),
]
ClassifierFolder = Annotated[
    str,
    typer.Option(
        help="Result folder; the same command again does what is missing.", show_default="named by what is asked"
    ),
]
Checkpoint = Annotated[str, typer.Option(help="Run folder, or a checkpoint file.", metavar="RUN")]
ResultFolder = Annotated[str, typer.Option(help="Result folder; the same command again does what is missing.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Do anew what is done already.")]
ColorMap = Annotated[str, typer.Option(help="Colours of the heat: a matplotlib colour map.")]
Alpha = Annotated[float, typer.Option(help="Strength of the overlay, 0 to 1.")]
SigmaPx = Annotated[
    float | None,
    typer.Option(
        help="Sigma in pixels of the Gaussian that makes a map of fixations where there is none.",
        show_default="0.03 of the image's longer side",
    ),
]

Epochs = Annotated[int, typer.Option(help="Times through the training images.", rich_help_panel=TRAINING)]
Lr = Annotated[
    float | None, typer.Option(help="Learning rate.", rich_help_panel=TRAINING, show_default="by model and weights")
]
Optimizer = Annotated[str, typer.Option(help="adamw, adam or sgd.", rich_help_panel=TRAINING)]
WeightDecay = Annotated[float, typer.Option(help="Weight decay (none on biases and norms).", rich_help_panel=TRAINING)]
Schedule = Annotated[str, typer.Option(help="cosine, step or constant.", rich_help_panel=TRAINING)]
WarmupEpochs = Annotated[float, typer.Option(help="Epochs of linear warm-up.", rich_help_panel=TRAINING)]
StepEpochs = Annotated[int, typer.Option(help="For step: epochs between steps.", rich_help_panel=TRAINING)]
StepFactor = Annotated[float, typer.Option(help="For step: factor of each step.", rich_help_panel=TRAINING)]
ClipNorm = Annotated[float, typer.Option(help="Clip the gradients' norm; 0 is off.", rich_help_panel=TRAINING)]
Accumulate = Annotated[int, typer.Option(help="Batches added up to a step.", rich_help_panel=TRAINING)]
Ema = Annotated[
    float, typer.Option(help="Decay of a moving average of the weights; 0 is off.", rich_help_panel=TRAINING)
]
Patience = Annotated[
    int, typer.Option(help="Stop after so many epochs without a better one; 0 is never.", rich_help_panel=TRAINING)
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the network.", rich_help_panel=COMPUTE)]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="On a GPU, only algorithms that repeat bit for bit.", rich_help_panel=COMPUTE),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=TRAINING)]

Progress = Annotated[ProgressMode, typer.Option(help="How to show progress.", rich_help_panel=REPORT)]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no notes: results alone.", rich_help_panel=REPORT),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=REPORT)]
