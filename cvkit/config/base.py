"""What several commands' settings share: where to compute, how to train, what to read and write."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from cvkit.config.checks import at_least, one_of, within
from cvkit.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "constant")
LAST = "last"  # as a best metric: the last epoch counts as the best, and nothing is chosen by validation


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every command's settings share."""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that JSON and a checkpoint can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


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
        if self.patience and self.best_metric == LAST:
            raise UsageError("--patience waits for a better epoch: name what tells it with --best-metric loss.")
        if self.resume and self.out is None:
            raise UsageError("--resume needs --out RUN: the folder of the run to go on with.")


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
