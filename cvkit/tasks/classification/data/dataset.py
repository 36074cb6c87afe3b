"""Data sets of labelled images that return whole batches."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvkit.tasks.classification.data.augment import Augmentation
from cvkit.tasks.classification.data.reading import ImageReader, as_rgb, stack

Batch = dict[str, Tensor]


class ClassImages:
    """Labelled images, read from files or from memory.

    A batch has ``image`` (B, 3, h, w) uint8, ``label`` (B,) int64 and ``index`` (B,) int64. Augmentation draws from a
    generator seeded by (seed, epoch, index, position), so that batches do not depend on the number of workers or on
    where a run was interrupted.

    Args:
        reader: Reads the images.
        cached: The images in memory, (N, C, h, w) or a list of (C, h, w) uint8; None to read the files in every epoch.
        augmentation: Random transforms; None for none.
        balanced: Whether an epoch draws all classes equally often.
        seed: Seed of the augmentation and of the draw.
    """

    def __init__(
        self,
        reader: ImageReader,
        *,
        cached: Tensor | Sequence[Tensor] | None = None,
        augmentation: Augmentation | None = None,
        balanced: bool = False,
        seed: int = 0,
    ) -> None:
        self.reader, self.cached, self.seed = reader, cached, seed
        self.augmentation = augmentation if augmentation is not None and augmentation.is_random else None
        self.balanced = balanced
        self.labels = torch.from_numpy(reader.images.labels)
        self._drawn: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """The device of the images: always the processor."""
        return torch.device("cpu")

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """Return the images of (B,) indices with the augmentation of an epoch."""
        chosen = self.draw(epoch)[indices] if self.balanced else indices
        index = torch.from_numpy(chosen)
        return {"image": self._images(epoch, indices, chosen), "label": self.labels[index], "index": index}

    def _images(self, epoch: int, positions: NDArray[np.int64], chosen: NDArray[np.int64]) -> Tensor:
        if self.augmentation is None:
            return self.images(chosen)
        # By position as well, because a balanced epoch draws an image several times.
        return stack(
            [
                self.augmentation(self._stored(int(index)), (self.seed, epoch, int(index), int(position)))
                for position, index in zip(positions, chosen, strict=True)
            ]
        )

    def images(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the images of (B,) indices without augmentation, (B, 3, h, w) uint8."""
        if isinstance(self.cached, Tensor):
            return as_rgb(self.cached[torch.from_numpy(indices)])
        return stack([self._stored(int(index)) for index in indices])

    def _stored(self, index: int) -> Tensor:
        return self.reader(index) if self.cached is None else self.cached[index]

    def draw(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of a balanced epoch, (N,): every class equally often, in a random order.

        Every image of a class comes equally often up to one.
        """
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, balanced_draw(self.labels.numpy(), np.random.default_rng((self.seed, epoch)))
        return self._drawn[1]

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return self.reader.images.names[index]


def balanced_draw(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return as many indices as there are labels, with all classes equally often up to one.

    Args:
        labels: (N,) class of each image.
        rng: Source of the random numbers.

    Returns:
        (N,) indices. Large classes are thinned out, and the images of small ones are repeated.
    """
    classes = np.unique(labels)
    sizes = np.full(len(classes), len(labels) // len(classes))
    sizes[: len(labels) % len(classes)] += 1
    drawn = []
    for label, size in zip(rng.permutation(classes), sizes, strict=True):
        members = np.flatnonzero(labels == label)
        repeats = [rng.permutation(members) for _ in range(-(-int(size) // len(members)))]
        drawn.append(np.concatenate(repeats)[:size])
    return rng.permutation(np.concatenate(drawn))


class FeatureBatches:
    """The features of images that frozen layers computed once, in place of the images.

    Args:
        data: The images.
        features: (N, ...) float32, the input of the trained layers for each image.
    """

    def __init__(self, data: ClassImages, features: Tensor) -> None:
        self.data, self.features = data, features

    def __len__(self) -> int:
        return len(self.data)

    @property
    def device(self) -> torch.device:
        """The device of the features."""
        return self.features.device

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """Return ``features`` (B, ...) float32, ``label`` (B,) and ``index`` (B,) int64."""
        index = torch.from_numpy(self.data.draw(epoch)[indices] if self.data.balanced else indices)
        return {
            "features": self.features[index.to(self.device)],
            "label": self.data.labels[index].to(self.device),
            "index": index.to(self.device),
        }
