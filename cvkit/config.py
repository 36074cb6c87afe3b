"""One frozen dataclass a command: every default and every check is written here, once."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from cvkit.catalog import SALIENCY_MODELS
from cvkit.errors import UsageError, did_you_mean, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "constant")
LOSSES = ("auto", "mlnet", "bce", "kl", "kl-cc", "kl-cc-nss")
AUGMENTATIONS = ("none", "flip", "full")
CACHES = ("auto", "ram", "none")
BEST_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "loss")
MAP_FORMATS = ("png", "png16", "npy")
PROTOCOLS = ("mit", "tuebingen")


def one_of(flag: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not one of the known ones."""
    if value not in known:
        raise UsageError(f"{flag} {value!r} is not one of {', '.join(known)}.{nearest(value, known)}")


def at_least(flag: str, value: float, low: float) -> None:
    """Refuse a number below ``low``, or one that is no number."""
    if not math.isfinite(value) or value < low:
        raise UsageError(f"{flag} must be {low:g} or more, not {value:g}.")


def within(flag: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside ``low <= value < high``."""
    if not low <= value < high:
        raise UsageError(f"{flag} must be at least {low:g} and below {high:g}, not {value:g}.")


def parse_size(flag: str, text: str) -> tuple[int, int]:
    """Read ``HxW`` in pixels (height first): ``'240x320' -> (240, 320)``."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{flag} {text!r} is not a size: write height x width in pixels, for example 240x320.")
    return int(parts[0]), int(parts[1])


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``K/N`` with 1 <= K <= N."""
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not 1 <= int(parts[0]) <= int(parts[1]):
        raise UsageError(f"--shard {text!r} is not a share: write K/N with 1 <= K <= N, for example 2/8.")
    return int(parts[0]), int(parts[1])


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every command's settings share."""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that JSON and a checkpoint can hold."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ComputeConfig(Config):
    """Where and how a command computes."""

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        name, colon, number = self.device.partition(":")
        if colon and not (name == "cuda" and number.isdecimal()):
            raise UsageError(f"--device {self.device!r} is not one of auto, cpu, cuda, cuda:N, mps.")
        one_of("--device", name, DEVICES)
        one_of("--precision", self.precision, PRECISIONS)
        at_least("--devices", self.devices, 1)
        at_least("--nodes", self.nodes, 1)
        at_least("--seed", self.seed, 0)
        if number and self.devices > 1:
            raise UsageError(f"--device {self.device} names one device; with --devices {self.devices} write cuda.")
        if self.batch_size is not None:
            at_least("--batch-size", self.batch_size, 1)
        if self.workers is not None:
            at_least("--workers", self.workers, 0)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(ComputeConfig):
    """What every training command's loop is told (``engine.fit``)."""

    epochs: int = 20
    lr: float | None = None
    optimizer: str = "adamw"
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup_epochs: float = 0.5
    step_epochs: int = 10
    step_factor: float = 0.1
    clip_norm: float = 1.0
    accumulate: int = 1
    ema: float = 0.0
    patience: int = 0
    best_metric: str = "loss"
    compile: bool = False
    deterministic: bool = False
    resume: bool = False
    out: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("--epochs", self.epochs, 1)
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"--lr must be above 0, not {self.lr:g}.")
        one_of("--optimizer", self.optimizer, OPTIMIZERS)
        one_of("--schedule", self.schedule, SCHEDULES)
        at_least("--weight-decay", self.weight_decay, 0)
        at_least("--warmup-epochs", self.warmup_epochs, 0)
        at_least("--step-epochs", self.step_epochs, 1)
        within("--step-factor", self.step_factor, 0, 1)
        at_least("--clip-norm", self.clip_norm, 0)
        at_least("--accumulate", self.accumulate, 1)
        within("--ema", self.ema, 0, 1)
        at_least("--patience", self.patience, 0)
        if self.resume and self.out is None:
            raise UsageError("--resume needs --out RUN: the folder of the run to go on with.")


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
class InferenceConfig(ComputeConfig):
    """What every command that sends many files through a model is told (``engine.stream``)."""

    inputs: tuple[str, ...]
    out: str
    overwrite: bool = False
    shard: tuple[int, int] = (1, 1)
    max_pixels: int = 178_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs:
            raise UsageError("no inputs: name files, folders, globs, @list.txt, or - for a list on stdin.")
        at_least("--max-pixels", self.max_pixels, 1)
        if self.shard != (1, 1) and (self.devices > 1 or self.nodes > 1):
            raise UsageError("--shard and --devices both share out the inputs: use one of them.")


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
