"""The settings of the command that embeds a data set with a convolutional autoencoder."""

from dataclasses import dataclass

from cvkit.config.base import LAST, TrainingConfig
from cvkit.config.checks import at_least, one_of, within
from cvkit.errors import UsageError

SPLITS = ("train", "val", "test")
EMBEDDING_FORMATS = ("csv", "parquet", "npy", "projector")
COMPARISONS = ("none", "pca", "tsne", "umap")
COLOURS = ("auto", "grey", "rgb")
MOST_POOLINGS = 10


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
        if not self.noise_sigma > 0:
            raise UsageError(f"--noise-sigma must be above 0, not {self.noise_sigma:g}.")
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
        at_least("--max-pixels", self.max_pixels, 1)
        one_of("--best-metric", self.best_metric, (LAST, "loss"))
        if self.checkpoint is not None:
            self._check_without_training()

    def _check_without_training(self) -> None:
        if self.resume:
            raise UsageError("--resume goes on with a training run; --checkpoint embeds without training.")
        if self.devices > 1 or self.nodes > 1:
            raise UsageError("with --checkpoint one process embeds: leave out --devices and --nodes.")
        if self.size is not None:
            raise UsageError("--size is that of the checkpoint's model: leave it out.")
