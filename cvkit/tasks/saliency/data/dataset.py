"""Data sets of images with saliency maps and fixation counts, for training."""

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
from cvkit.tasks.saliency.data.digests import ExampleDigest, digest_example
from cvkit.tasks.saliency.data.ground_truth import read_truth
from cvkit.tasks.saliency.data.layout import Example

Sample = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """Settings for reading a sample from files.

    Attributes:
        size: (height, width) in pixels to which image and map are resized.
        sigma_px: Standard deviation in pixels of the original image with which fixations are blurred if there is no
            map; None for 0.03 of the longer side.
        max_pixels: Images with more pixels are refused.
    """

    size: tuple[int, int]
    sigma_px: float | None = None
    max_pixels: int = 178_000_000


@dataclass
class Problems:
    """Problems of the files of a data set.

    Attributes:
        by_kind: Messages by kind of problem.
    """

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, message: str) -> None:
        """Add the problem of one file."""
        self.by_kind.setdefault(kind, []).append(message)

    def merge(self, others: "Problems") -> None:
        """Add the problems of another check."""
        for kind, messages in others.by_kind.items():
            self.by_kind[kind] = self.by_kind.get(kind, []) + messages

    def lines(self) -> list[str]:
        """Return one line per kind: the number of problems and the first three messages."""
        return [
            f"{kind}: {len(messages)} ({'; '.join(messages[:3])}{'; ...' if len(messages) > 3 else ''})"
            for kind, messages in self.by_kind.items()
        ]

    def first(self) -> str:
        """Return the first message."""
        return next((messages[0] for messages in self.by_kind.values()), "no file was found.")

    def count(self) -> int:
        """Return the number of problems."""
        return sum(len(messages) for messages in self.by_kind.values())


def read_sample(example: Example, spec: SampleSpec) -> Sample:
    """Read one image with its ground truth.

    Returns:
        ``image`` (3, H, W) uint8, ``target`` (1, H, W) float16 from 0 to 1, and ``counts`` (1, H, W) int16 if the
        example has fixations.

    Raises:
        DataError: If a file cannot be used.
    """
    image = read_image(example.image, spec.max_pixels)
    truth = read_truth(example, (image.shape[0], image.shape[1]), spec.size, spec.sigma_px)
    sample = {
        "image": resize_image(image, spec.size),
        "target": torch.from_numpy(truth.map)[None].half(),
    }
    if truth.counts is not None:
        sample["counts"] = torch.from_numpy(truth.counts)[None]
    return sample


class SaliencyDataset:
    """Samples by ``(epoch, index)``, read from files or from memory.

    An item has ``image`` (3, H, W) uint8, ``target`` (1, H, W) float32 from 0 to 1, ``counts`` (1, H, W) int16 if every
    example has fixations, and ``index`` () int64. Augmentation draws from a generator seeded by (seed, epoch, index),
    so that samples do not depend on the number of workers or on where a run was interrupted.

    Args:
        examples: Files of the samples.
        spec: Settings for reading them.
        cached: Samples in memory in the order of the examples; None to read the files in every epoch.
        augmentation: "none", "flip" or "full", as in ``augment``.
        seed: Seed of the augmentation.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        spec: SampleSpec,
        *,
        cached: Sequence[Sample] | None = None,
        augmentation: str = "none",
        seed: int = 0,
    ) -> None:
        self.examples = list(examples)
        self.spec = spec
        self.cached = cached
        self.augmentation = augmentation
        self.seed = seed
        self.has_fixations = all(example.fixations is not None for example in examples)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def device(self) -> torch.device:
        """The device of the samples: always the CPU."""
        return torch.device("cpu")

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Sample:
        """Return the items of (B,) indices, stacked along a new first dimension."""
        return default_collate([self[(epoch, int(index))] for index in indices])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        stored = self.cached[index] if self.cached is not None else read_sample(self.examples[index], self.spec)
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
    """A data set all of whose files have been read once.

    Attributes:
        examples: The examples that can be used.
        cached: Their samples, None if they are not kept in memory.
        problems: The problems of the others.
        digests: Checksums of the examples that can be used.
    """

    examples: list[Example]
    cached: list[Sample] | None
    problems: Problems
    digests: list[ExampleDigest]


def prepare(
    examples: Sequence[Example], spec: SampleSpec, cache: str, threads: int, on_progress: Callable[[int], None]
) -> Prepared:
    """Read every file once in threads, to find those that cannot be used and to fill the cache.

    Args:
        examples: Files to read.
        spec: Settings for reading them.
        cache: "ram" keeps the samples in memory, "none" does not, "auto" does if they take less than a quarter of the
            free memory.
        threads: Number of threads.
        on_progress: Receives the number of examples read so far.
    """
    use_cache = cache == "ram" or (cache == "auto" and _fits(len(examples), spec.size))
    problems = Problems()
    usable: list[Example] = []
    cached: list[Sample] = []
    digests: list[ExampleDigest] = []

    def attempt(example: Example) -> tuple[Sample, ExampleDigest] | DataError:
        try:
            sample, digest = read_sample(example, spec), digest_example(example)
        except DataError as error:
            return error
        return (sample if use_cache else {}), digest

    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        for number, (example, outcome) in enumerate(zip(examples, pool.map(attempt, examples), strict=True), start=1):
            if isinstance(outcome, DataError):
                problems.add("unreadable" if outcome.kind == "data" else outcome.kind, str(outcome))
            else:
                usable.append(example)
                cached.append(outcome[0])
                digests.append(outcome[1])
            on_progress(number)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption does not wait for the remaining files
    return Prepared(usable, cached if use_cache else None, problems, digests)


def _fits(count: int, size: tuple[int, int]) -> bool:
    bytes_needed = count * size[0] * size[1] * (3 + 2 + 2)
    return bytes_needed * local_processes() < free_memory() / 4  # each process keeps its own
