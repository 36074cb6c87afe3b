"""The settings of the command that embeds a data set with a convolutional autoencoder."""

import math
from dataclasses import dataclass, fields

from cvkit.config.base import LAST, ComputeConfig, TrainingConfig
from cvkit.config.checks import at_least, one_of, within
from cvkit.errors import UsageError

SPLITS = ("train", "val", "test")
EMBEDDING_FORMATS = ("csv", "parquet", "npy", "projector")
COMPARISONS = ("none", "pca", "tsne", "umap")
COLOURS = ("auto", "grey", "rgb")
MOST_POOLINGS = 10
# What only a run that trains can be told.
MODEL_FIELDS = frozenset({"latent_dim", "widths", "batch_norm", "dropout", "denoise", "noise_sigma", "size", "color"})
LOOP_FIELDS = frozenset(
    field.name for field in fields(TrainingConfig) if field.name not in {part.name for part in fields(ComputeConfig)}
) - {"out", "resume"}


@dataclass(frozen=True, kw_only=True)
class CaeEmbedConfig(TrainingConfig):
    """``cvkit cae-embed``. ``checkpoint`` embeds by a trained run, ``size`` None takes the images' own where small.

    ``best_metric`` "last" embeds by the weights of the last epoch, so that nothing is chosen on the test images.
    """

    data: str
    checkpoint: str | None = None
    latent_dim: int = 2
    widths: tuple[int, ...] = (32, 64, 128)
    batch_norm: bool = False
    dropout: float = 0.0
    denoise: bool = False
    noise_sigma: float = 1.0
    size: tuple[int, int] | None = None
    color: str = "auto"
    test_fraction: float = 0.1
    limit: int | None = None
    labels: str | None = None
    embed: tuple[str, ...] = ("train", "test")
    format: tuple[str, ...] = ("csv",)
    compare: tuple[str, ...] = ("pca",)
    html: bool = False
    strict: bool = False
    overwrite: bool = False
    max_pixels: int = 178_000_000
    optimizer: str = "adam"
    weight_decay: float = 0.0
    best_metric: str = LAST

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("--latent-dim", self.latent_dim, 1)
        if not self.widths or len(self.widths) > MOST_POOLINGS or min(self.widths) < 1:
            raise UsageError(f"--widths: name 1 to {MOST_POOLINGS} numbers of filters, for example 32,64,128.")
        within("--dropout", self.dropout, 0, 1)
        if not 0 < self.noise_sigma < math.inf:
            raise UsageError(f"--noise-sigma must be above 0, not {self.noise_sigma:g}.")
        if self.noise_sigma != CaeEmbedConfig.noise_sigma and not self.denoise:
            raise UsageError("--noise-sigma is that of --denoise: add it.")
        if not self.data:
            raise UsageError("--data is empty: name a folder of images.")
        one_of("--color", self.color, COLOURS)
        if not 0 < self.test_fraction < 1:
            raise UsageError(f"--test-fraction must be between 0 and 1, not {self.test_fraction:g}.")
        if self.limit is not None:
            at_least("--limit", self.limit, 2)
        for flag, words, known in (
            ("--embed", self.embed, SPLITS),
            ("--format", self.format, EMBEDDING_FORMATS),
            ("--compare", self.compare, COMPARISONS),
        ):
            if not words:
                raise UsageError(f"{flag}: name one or more of {', '.join(known)}.")
            for word in words:
                one_of(flag, word, known)
        if "none" in self.compare and len(self.compare) > 1:
            raise UsageError("--compare none stands alone: leave out the others, or none.")
        at_least("--max-pixels", self.max_pixels, 1)
        one_of("--best-metric", self.best_metric, (LAST, "loss"))
        if self.checkpoint is not None:
            self._check_without_training()

    def _check_without_training(self) -> None:
        if self.resume:
            raise UsageError("--resume goes on with a training run; --checkpoint embeds without training.")
        if self.devices > 1 or self.nodes > 1:
            raise UsageError("with --checkpoint one process embeds: leave out --devices and --nodes.")
        for field in fields(self):
            trains = field.name in MODEL_FIELDS or field.name in LOOP_FIELDS
            if trains and getattr(self, field.name) != field.default:
                flag = field.name.replace("_", "-")
                raise UsageError(f"--{flag} is for training, and --checkpoint embeds without: leave one of them out.")
