"""Hold the device, the amounts of work, and the files that the checks share: photographs, weights and data sets."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from photographs import make_photographs, repeat_photographs

from cvkit.commands.sample_data import sample_fixations
from cvkit.config import Config, SampleFixationsConfig
from gpu_checks.networks import save_classifier, save_saliency
from gpu_checks.report import Row, Skip

ConfigType = TypeVar("ConfigType", bound=Config)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Amounts:
    """The amounts of work: those of a full run, or those of ``--quick``."""

    classifiers: tuple[str, ...] = ("vgg16", "resnet50", "mobilenet_v2")
    backbones: tuple[str, ...] = ("vgg16", "resnet50", "mobilenet_v2")
    small_backbone: str = "mobilenet_v2"
    small_size: tuple[int, int] = (96, 128)
    distinct: int = 256  # photographs
    compared: int = 24  # photographs whose outputs are compared with those of the processor
    files: int = 5_000  # of a speed measurement
    probed: int = 256  # files of the first run, which measures how many fit into the time
    run_seconds: float = 5.0  # of one speed measurement
    block_seconds: float = 0.2  # of one measured block of a bare network
    blocks: int = 5  # whose median counts
    batches: tuple[int, ...] = (32, 128)  # of a bare network
    steps: int = 50  # of a training curve
    train_images: int = 960  # of the training speed
    train_batch: int = 32
    train_size: tuple[int, int] = (224, 224)
    epochs: int = 4


QUICK = Amounts(
    classifiers=("mobilenet_v2",),
    backbones=("mobilenet_v2",),
    small_backbone="timm:mobilenetv3_small_050",
    small_size=(96, 96),
    distinct=4,
    compared=3,
    files=8,
    probed=4,
    run_seconds=0.2,
    block_seconds=0.0,
    blocks=1,
    batches=(2,),
    steps=3,
    train_images=4,
    train_batch=2,
    train_size=(96, 96),
    epochs=2,
)


@dataclass
class Lab:
    """What the checks share.

    Attributes:
        device: The device to check.
        folder: Folder of all temporary files.
        deadline: Value of ``time.monotonic`` at which the time budget ends.
        quick: Whether the amounts are those of ``--quick``.
        amounts: Amounts of work.
        slowness: Factor on the expected durations of the checks; 0 switches the test of the remaining time off.
        kept: Results that several checks use, such as the outputs on the processor.
    """

    device: torch.device
    folder: Path
    deadline: float
    quick: bool = False
    slowness: float = 1.0
    amounts: Amounts = field(init=False)
    kept: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    folders: int = 0

    def __post_init__(self) -> None:
        self.amounts = QUICK if self.quick else Amounts()

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def need_cuda(self) -> None:
        """Raise Skip on another device than a CUDA GPU."""
        if not self.is_cuda:
            raise Skip(f"needs a CUDA GPU; the device is {self.device}")

    def new_folder(self) -> Path:
        """Return the path of a folder that does not exist."""
        self.folders += 1
        return self.folder / f"out-{self.folders:03d}"

    def keep(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """Return the result for a key, which is computed only once."""
        if key not in self.kept:
            self.kept[key] = compute()
        return self.kept[key]

    def synchronise(self) -> None:
        """Wait until the device has finished its work."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def free_memory(self) -> None:
        """Return memory of finished checks to the device."""
        if self.is_cuda:
            gc.collect()
            with suppress(RuntimeError):  # after a fatal error of the GPU; every later check reports it
                torch.cuda.empty_cache()

    @cached_property
    def photographs(self) -> list[Path]:
        """The distinct photographs, 800x600."""
        return make_photographs(self.folder / "distinct", self.amounts.distinct)

    @cached_property
    def many(self) -> list[Path]:
        """The files of the speed measurements: links to the distinct photographs."""
        return repeat_photographs(self.photographs, self.folder / "many", self.amounts.files)

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """The photographs whose outputs are compared."""
        return tuple(map(str, self.photographs[: self.amounts.compared]))

    def weights(self, name: str) -> str:
        """Return a file with the weights of a classifier."""
        path = self.folder / f"{name}.pth"
        if not path.exists():
            save_classifier(name, path, self.photographs[:16])
        return str(path)

    def checkpoint(self, backbone: str) -> str:
        """Return a checkpoint of ``mlnet`` on a backbone."""
        path = self.folder / f"mlnet-{backbone.replace(':', '-')}.pt"
        if not path.exists():
            save_saliency(backbone, path, self.photographs[:16])
        return str(path)

    def fixations(self, train: int, val: int, size: tuple[int, int]) -> str:
        """Return a data set of generated displays with fixations."""
        folder = self.folder / f"displays-{train}-{val}-{size[0]}x{size[1]}"
        if not folder.exists():
            sample_fixations(SampleFixationsConfig(out=str(folder), train=train, val=val, size=size))
        return str(folder)


def make_config(kind: type[ConfigType], *, optional: dict[str, Any] | None = None, **settings: Any) -> ConfigType:
    """Return the settings of a command; ``optional`` settings are left out if the command has no such option."""
    known = {each.name for each in fields(kind)}
    return kind(**settings, **{name: value for name, value in (optional or {}).items() if name in known})


@contextmanager
def tf32(enabled: bool) -> Iterator[None]:
    """Allow or forbid TF32 in convolutions and matrix products for the block.

    PyTorch's default, with which cvkit runs, allows it in convolutions only.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def attempt(compute: Callable[[], Row], **labels: Any) -> Row:
    """Return a row with labels, or the error as a failed row, so that the other variants of a check still run."""
    try:
        return {**labels, **compute()}
    except Skip:
        raise
    except Exception as error:
        return {**labels, "measured": " ".join(f"{type(error).__name__}: {error}".split())[:300], "ok": False}


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def median_rate(function: Callable[[], object], images: int, lab: Lab) -> float:
    """Return images per second of a function that processes ``images``; the median of some blocks after a warm-up."""
    function()
    lab.synchronise()
    began = time.perf_counter()
    function()
    lab.synchronise()
    calls = max(1, int(lab.amounts.block_seconds / max(1e-6, time.perf_counter() - began)))
    rates = []
    for _ in range(lab.amounts.blocks):
        began = time.perf_counter()
        for _ in range(calls):
            function()
        lab.synchronise()
        rates.append(calls * images / (time.perf_counter() - began))
    return float(np.median(rates))
