"""Settings of the command that embeds a data set with a convolutional autoencoder."""

from dataclasses import dataclass, fields
from typing import Annotated

from cvkit.config.base import ComputeConfig, MaxPixels, Overwrite
from cvkit.config.option import DATA, MAX_SIDE, MODEL, OUTPUT, TRAINING, Option
from cvkit.config.shared import Strict
from cvkit.config.training import LAST, TrainingConfig
from cvkit.config.values import format_size, parse_numbers, parse_size
from cvkit.errors import UsageError

SPLITS = ("train", "val", "test")
EMBEDDING_FORMATS = ("csv", "parquet", "npy", "projector")
COMPARISONS = ("none", "pca", "tsne", "umap")
COLOURS = ("auto", "grey", "rgb")
MAX_POOLINGS = 10
# Options that have no effect with --model, because nothing is trained then.
NETWORK_FIELDS = frozenset({"latent_dim", "widths", "batch_norm", "dropout", "denoise", "noise_sigma", "size", "color"})
LOOP_FIELDS = frozenset(
    field.name for field in fields(TrainingConfig) if field.name not in {part.name for part in fields(ComputeConfig)}
) - {"out", "resume", "seed"}


@dataclass(frozen=True, kw_only=True)
class CaeEmbedConfig(TrainingConfig):
    """Settings of ``cvkit cae-embed``. With ``model``, a trained run embeds the data and nothing is trained.

    ``size`` None takes the images' own size where it is small. ``best_metric`` "last" embeds by the weights of the last
    epoch, so that the test images select nothing.
    """

    data: Annotated[
        str,
        Option(
            help="Data set: a folder with IDX files (as of MNIST), with one folder per class, or with images.",
            panel=DATA,
            metavar="DIR",
            access="read",
            changeable=True,
        ),
    ]
    model: Annotated[
        str | None,
        Option(
            help="Trained autoencoder to embed with: a run folder, a checkpoint or an exported file.",
            panel=MODEL,
            names=("--model", "--checkpoint"),
            metavar="REF",
            default_text="a new one is trained",
            access="read",
        ),
    ] = None
    latent_dim: Annotated[int, Option(help="Number of values of a code.", panel=MODEL, minimum=1, limit=100_000)] = 2
    widths: Annotated[
        tuple[int, ...],
        Option(
            help="Numbers of filters of the encoder's convolutions; the decoder mirrors them.",
            panel=MODEL,
            metavar="N,...",
            minimum=1,
            limit=100_000,
            parse=parse_numbers,
        ),
    ] = (32, 64, 128)
    batch_norm: Annotated[bool, Option(help="Normalise batches before each ReLU.", panel=MODEL)] = False
    dropout: Annotated[float, Option(help="Dropout probability.", panel=MODEL, minimum=0, below=1)] = 0.0
    denoise: Annotated[
        bool, Option(help="Train a denoising autoencoder: add Gaussian noise to its input.", panel=MODEL)
    ] = False
    noise_sigma: Annotated[
        float,
        Option(
            help="Standard deviation of the noise of --denoise, for pixel values from 0 to 1.", panel=MODEL, above=0
        ),
    ] = 1.0
    size: Annotated[
        tuple[int, int] | None,
        Option(
            help="Size of the network's input in pixels.",
            panel=DATA,
            metavar="HxW",
            minimum=1,
            limit=MAX_SIDE,
            parse=parse_size,
            format=format_size,
            default_text="the images' own, or 64x64 if they are larger or of several sizes",
        ),
    ] = None
    color: Annotated[
        str,
        Option(help="Colour of the network's input; auto is grey if all images are.", panel=DATA, choices=COLOURS),
    ] = "auto"
    test_fraction: Annotated[
        float,
        Option(help="Fraction held out for testing if the data has no test split.", panel=DATA, above=0, below=1),
    ] = 0.1
    limit: Annotated[
        int | None, Option(help="Use at most N images of each split, drawn at random.", panel=DATA, minimum=2)
    ] = None
    labels: Annotated[
        str | None,
        Option(
            help="File with the class names: one per line, CSV or JSON.",
            panel=DATA,
            metavar="FILE",
            default_text="the folders' names, or Fashion-MNIST's",
            access="read",
            changeable=True,
        ),
    ] = None
    embed: Annotated[
        tuple[str, ...],
        Option(
            help="Splits to embed, separated by commas.",
            panel=OUTPUT,
            choices=SPLITS,
            other="NAME",
            metavar="SPLIT,...",
            changeable=True,
        ),
    ] = ("train", "test")
    format: Annotated[
        tuple[str, ...],
        Option(
            help="Formats of the codes, separated by commas; projector is TensorBoard's.",
            panel=OUTPUT,
            choices=EMBEDDING_FORMATS,
            metavar="FORMAT,...",
            changeable=True,
        ),
    ] = ("csv",)
    compare: Annotated[
        tuple[str, ...],
        Option(
            help="Projections to compare the codes with, separated by commas; umap needs umap-learn.",
            panel=OUTPUT,
            choices=COMPARISONS,
            metavar="METHOD,...",
            changeable=True,
        ),
    ] = ("pca",)
    html: Annotated[
        bool,
        Option(help="Also write an HTML page that shows each image on hovering.", panel=OUTPUT, changeable=True),
    ] = False
    strict: Strict = False
    overwrite: Overwrite = False
    max_pixels: MaxPixels = 178_000_000
    optimizer: str = "adam"
    weight_decay: float = 0.0
    lr: Annotated[float | None, Option(help="Peak learning rate.", panel=TRAINING, above=0, default_text="0.002")] = (
        None
    )
    best_metric: Annotated[
        str,
        Option(
            help="Epoch whose weights embed the data: the last one, or the one of lowest test loss.",
            panel=TRAINING,
            choices=(LAST, "loss"),
        ),
    ] = LAST
    out: Annotated[
        str | None,
        Option(
            help="Run folder; with --model, the result folder.",
            panel=OUTPUT,
            metavar="DIR",
            default_text="runs/cae-embed/cae-N; with --model: embeddings",
            changeable=True,
            access="write",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.widths) <= MAX_POOLINGS:
            raise UsageError(f"--widths: name 1 to {MAX_POOLINGS} numbers of filters, for example 32,64,128.")
        if self.noise_sigma != CaeEmbedConfig.noise_sigma and not self.denoise:
            raise UsageError("--noise-sigma has an effect only with --denoise: add it.")
        for flag, words, choices in (
            ("--embed", self.embed, SPLITS),
            ("--format", self.format, EMBEDDING_FORMATS),
            ("--compare", self.compare, COMPARISONS),
        ):
            if not words:
                raise UsageError(f"{flag} is empty: name one or more of {', '.join(choices)}.")
        if "none" in self.compare and len(self.compare) > 1:
            raise UsageError("--compare none cannot be combined with other methods.")
        if self.model is not None:
            self._check_without_training()

    def _check_without_training(self) -> None:
        if self.resume:
            raise UsageError("--resume continues a training run, but --model embeds without training.")
        if self.devices > 1 or self.nodes > 1:
            raise UsageError("--model runs in one process: leave out --devices and --nodes.")
        for field in fields(self):
            trains = field.name in NETWORK_FIELDS or field.name in LOOP_FIELDS
            if trains and getattr(self, field.name) != field.default:
                flag = field.name.replace("_", "-")
                raise UsageError(f"--{flag} is for training, but --model embeds without training: remove one of them.")
