"""Saliency data sets: images with the maps and fixation counts a network learns from."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from cvkit.data.images import read_image, resize_image
from cvkit.errors import DataError
from cvkit.processes import free_memory, local_processes
from cvkit.tasks.saliency.data.augment import augment
from cvkit.tasks.saliency.data.ground_truth import read_truth
from cvkit.tasks.saliency.data.layout import Example

Sample = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of a data set are brought to what the network sees.

    ``size`` is (height, width) in pixels; ``sigma_px`` blurs fixations where there is no map, in pixels of the
    original image (None: 0.03 of its longer side); ``max_pixels`` refuses larger images.
    """

    size: tuple[int, int]
    sigma_px: float | None = None
    max_pixels: int = 178_000_000


@dataclass
class Problems:
    """What is wrong with the files of a data set: messages by kind."""

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, message: str) -> None:
        """Note one file's problem."""
        self.by_kind.setdefault(kind, []).append(message)

    def take(self, others: "Problems") -> None:
        """Add what another check found."""
        for kind, messages in others.by_kind.items():
            self.by_kind[kind] = self.by_kind.get(kind, []) + messages

    def lines(self) -> list[str]:
        """Return a line a kind: how many, and the first few by name."""
        return [
            f"{kind}: {len(messages)} ({'; '.join(messages[:3])}{'; ...' if len(messages) > 3 else ''})"
            for kind, messages in self.by_kind.items()
        ]

    def first(self) -> str:
        """Return the first message."""
        return next((messages[0] for messages in self.by_kind.values()), "none was found.")

    def count(self) -> int:
        """Return how many problems there are."""
        return sum(len(messages) for messages in self.by_kind.values())


def read_sample(example: Example, reading: Reading) -> Sample:
    """Read one example: ``image`` (3, H, W) uint8, ``target`` (1, H, W) float16 0..1, ``counts`` (1, H, W) int16.

    ``counts`` is there when the example has fixations. Raises DataError.
    """
    image = read_image(example.image, reading.max_pixels)
    truth = read_truth(example, (image.shape[0], image.shape[1]), reading.size, reading.sigma_px)
    sample = {
        "image": resize_image(image, reading.size),
        "target": torch.from_numpy(truth.map)[None].half(),
    }
    if truth.counts is not None:
        sample["counts"] = torch.from_numpy(truth.counts)[None]
    return sample


class SaliencyDataset:
    """Examples by ``(epoch, index)``: read from files, or from memory when they are kept there.

    An item has ``image`` (3, H, W) uint8, ``target`` (1, H, W) float32 0..1, ``counts`` (1, H, W) int16 when every
    example has fixations, and ``index`` () int64. Augmentation draws from a generator seeded by (seed, epoch, index),
    so that nothing depends on the number of workers or on where a run was interrupted.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        reading: Reading,
        *,
        kept: Sequence[Sample] | None = None,
        augmentation: str = "none",
        seed: int = 0,
    ) -> None:
        self.examples = list(examples)
        self.reading = reading
        self.kept = kept
        self.augmentation = augmentation
        self.seed = seed
        self.has_fixations = all(example.fixations is not None for example in examples)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def device(self) -> torch.device:
        """Return the processor, where samples are."""
        return torch.device("cpu")

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Sample:
        """Return several items, stacked."""
        return default_collate([self[(epoch, int(index))] for index in indices])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        stored = self.kept[index] if self.kept is not None else read_sample(self.examples[index], self.reading)
        sample = {"image": stored["image"], "target": stored["target"].float()}
        if self.has_fixations:
            sample["counts"] = stored["counts"]
        if self.augmentation != "none":
            sample = augment(sample, self.augmentation, np.random.default_rng((self.seed, epoch, index)))
        sample["index"] = torch.tensor(index)
        return sample

    def name(self, index: int) -> str:
        """Return the file name of an example's image."""
        return str(self.examples[index].image)


@dataclass(frozen=True)
class Prepared:
    """A data set whose files were all tried: the examples that can be used, their samples when kept, the problems."""

    examples: list[Example]
    kept: list[Sample] | None
    problems: Problems


def prepare(
    examples: Sequence[Example], reading: Reading, cache: str, threads: int, on_progress: Callable[[int], None]
) -> Prepared:
    """Read every file once, in threads: list what cannot be used, and keep the samples when they fit in memory.

    ``cache``: ``ram`` keeps them, ``none`` does not, ``auto`` does when they take less than a quarter of the memory
    that is free.
    """
    keep = cache == "ram" or (cache == "auto" and _fits(len(examples), reading.size))
    problems = Problems()
    usable: list[Example] = []
    kept: list[Sample] = []

    def attempt(example: Example) -> Sample | DataError:
        try:
            sample = read_sample(example, reading)
        except DataError as error:
            return error
        return sample if keep else {}

    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        for number, (example, outcome) in enumerate(zip(examples, pool.map(attempt, examples), strict=True), start=1):
            if isinstance(outcome, DataError):
                problems.add("unreadable" if outcome.kind == "data" else outcome.kind, str(outcome))
            else:
                usable.append(example)
                kept.append(outcome)
            on_progress(number)
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for the files still to come
    return Prepared(usable, kept if keep else None, problems)


def _fits(count: int, size: tuple[int, int]) -> bool:
    bytes_needed = count * size[0] * size[1] * (3 + 2 + 2)
    return bytes_needed * local_processes() < free_memory() / 4  # each process keeps its own
