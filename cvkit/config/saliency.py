"""The settings of the commands that train, use and score saliency networks."""

from dataclasses import dataclass

from cvkit.catalog import SALIENCY_MODELS
from cvkit.config.base import ComputeConfig, Config, InferenceConfig, TrainingConfig
from cvkit.config.checks import at_least, one_of, within
from cvkit.errors import UsageError, did_you_mean

LOSSES = ("auto", "mlnet", "bce", "kl", "kl-cc", "kl-cc-nss")
AUGMENTATIONS = ("none", "flip", "full")
CACHES = ("auto", "ram", "none")
BEST_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "loss")
MAP_FORMATS = ("png", "png16", "npy")
PROTOCOLS = ("mit", "tuebingen")


@dataclass(frozen=True, kw_only=True)
class TrainSaliencyConfig(TrainingConfig):
    """``cvkit train-saliency``. Settings left at None take the model's own value from the catalog."""

    data: str
    model: str = "mlnet"
    backbone: str = "vgg16"
    weights: str = "imagenet"
    size: tuple[int, int] | None = None
    loss: str = "auto"
    alpha: float | None = None
    dropout: float | None = None
    prior: bool | None = None
    zero_bias: bool | None = None
    freeze: str = "none"
    backbone_lr: float = 0.1
    augment: str = "flip"
    val_fraction: float = 0.1
    sigma_px: float | None = None
    cache: str = "auto"
    strict: bool = False
    limit: int | None = None
    samples: int = 8
    max_pixels: int = 178_000_000
    best_metric: str = "cc"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in SALIENCY_MODELS:
            raise UsageError(f"--model {self.model!r} is not known.{did_you_mean(self.model, SALIENCY_MODELS)}")
        facts = SALIENCY_MODELS[self.model]
        if self.backbone != "vgg16" and not facts.takes_backbone:
            raise UsageError(f"--backbone goes with mlnet and mlnet-paper; {self.model} is built on vgg16 only.")
        if self.prior and not facts.takes_backbone:
            raise UsageError(f"--prior goes with mlnet and mlnet-paper; {self.model} has no learned prior.")
        if self.size is not None and min(self.size) < facts.min_size:
            raise UsageError(f"--size {self.size[0]}x{self.size[1]}: {self.model} needs {facts.min_size} or more.")
        one_of("--loss", self.loss, LOSSES)
        if self.alpha is not None and not self.alpha > 1:
            raise UsageError(f"--alpha must be above 1 (the weight is 1 / (alpha - y)), not {self.alpha:g}.")
        if self.dropout is not None:
            within("--dropout", self.dropout, 0, 1)
        if self.freeze not in ("none", "backbone") and not self.freeze.isdecimal():
            raise UsageError(f"--freeze {self.freeze!r}: write none, backbone, or a number of epochs.")
        at_least("--backbone-lr", self.backbone_lr, 0)
        one_of("--augment", self.augment, AUGMENTATIONS)
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"--val-fraction must be between 0 and 1, not {self.val_fraction:g}.")
        if self.sigma_px is not None and not self.sigma_px > 0:
            raise UsageError(f"--sigma-px must be above 0, not {self.sigma_px:g}.")
        one_of("--cache", self.cache, CACHES)
        if self.limit is not None:
            at_least("--limit", self.limit, 1)
        at_least("--samples", self.samples, 0)
        at_least("--max-pixels", self.max_pixels, 1)
        one_of("--best-metric", self.best_metric, BEST_METRICS)


@dataclass(frozen=True, kw_only=True)
class PredictConfig(InferenceConfig):
    """``cvkit predict``. ``size`` None means each image's own size."""

    checkpoint: str
    out: str = "maps"
    format: str = "png"
    size: tuple[int, int] | None = None
    overlay: bool = False
    colormap: str = "inferno"
    alpha: float = 0.6
    blur_px: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("--format", self.format, MAP_FORMATS)
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"--alpha must be between 0 and 1, not {self.alpha:g}.")
        at_least("--blur-px", self.blur_px, 0)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ComputeConfig):
    """``cvkit evaluate``. ``split`` None means val, else test, else all there is."""

    data: str
    maps: str | None = None
    checkpoint: str | None = None
    protocol: str = "mit"
    split: str | None = None
    out: str | None = None
    baseline: str = "centre"
    with_baselines: bool = False
    shuffled_images: int | None = None
    sigma_px: float | None = None
    emd: bool = True
    overwrite: bool = False
    max_pixels: int = 178_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.maps is None) == (self.checkpoint is None):
            raise UsageError("name what to score: either --maps DIR or --checkpoint RUN, and not both.")
        one_of("--protocol", self.protocol, PROTOCOLS)
        if self.devices > 1 or self.nodes > 1:
            raise UsageError("evaluate runs in one process: leave out --devices and --nodes.")
        if self.shuffled_images is not None:
            at_least("--shuffled-images", self.shuffled_images, 1)
        if self.sigma_px is not None and not self.sigma_px > 0:
            raise UsageError(f"--sigma-px must be above 0, not {self.sigma_px:g}.")
        at_least("--max-pixels", self.max_pixels, 1)


@dataclass(frozen=True, kw_only=True)
class SampleFixationsConfig(Config):
    """``cvkit sample-data fixations``."""

    out: str
    train: int = 240
    val: int = 40
    size: tuple[int, int] = (240, 320)
    sigma_px: float | None = None
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        at_least("--train", self.train, 1)
        at_least("--val", self.val, 1)
        at_least("--seed", self.seed, 0)
        if min(self.size) < 64:
            raise UsageError(f"--size {self.size[0]}x{self.size[1]}: a display needs 64 or more pixels a side.")
        if self.sigma_px is not None and not self.sigma_px > 0:
            raise UsageError(f"--sigma-px must be above 0, not {self.sigma_px:g}.")
