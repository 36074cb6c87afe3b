"""Choose the examples of each batch as a function of (seed, epoch, process)."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Key = tuple[int, NDArray[np.int64]]


class EpochSampler(Sampler[Key]):
    """Yields ``(epoch, indices)`` for each batch of one process.

    With ``shuffle`` the order changes every epoch. The batches of all processes together are the batches that one
    process would have with ``batch_size * world_size``. Every process has equally many batches, as gradients need: a
    process without an example in the last batch gets one that belongs to another, and ``weight`` gives it the weight 0.
    Without ``shuffle``, every index comes exactly once over all processes.

    Args:
        count: Number of examples.
        batch_size: Images per batch and process.
        seed: Seed of the order.
        shuffle: Whether to shuffle and to fill up.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(
        self, count: int, batch_size: int, *, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1
    ) -> None:
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch, self.skip = 0, 0

    def start(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch, and the number of this process's batches to skip at its beginning."""
        self.epoch, self.skip = epoch, skip

    def batches(self) -> int:
        """Return the number of batches of this process in a whole epoch."""
        if self.shuffle:
            return math.ceil(self.count / (self.batch_size * self.world_size))
        own = len(range(self.rank, self.count, self.world_size))
        return math.ceil(own / self.batch_size)

    def examples(self, batch: int) -> int:
        """Return the number of examples of this process in a batch of an epoch with ``shuffle``, perhaps 0."""
        return len(range(self.rank, self._together(batch), self.world_size))

    def weight(self, batch: int) -> float:
        """Return the factor on this process's mean loss of a batch.

        The mean over the processes of the weighted losses is the mean over the examples of all processes.
        """
        return self.examples(batch) * self.world_size / self._together(batch)

    def _together(self, batch: int) -> int:
        """Return the number of examples of all processes in a batch of an epoch with ``shuffle``."""
        size = self.batch_size * self.world_size
        return min(size, self.count - batch * size)

    def __len__(self) -> int:
        return max(0, self.batches() - self.skip)

    def __iter__(self) -> Iterator[Key]:
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        own = order[self.rank :: self.world_size]
        for batch in range(self.skip, self.batches()):
            indices = own[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self.epoch, indices if len(indices) else order[:1]
