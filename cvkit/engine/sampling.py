"""Which example comes when: a function of (seed, epoch, process) alone."""

import math
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, index)``: a fresh order every epoch, shared out over the processes, from any batch on.

    With ``shuffle`` every process gets equally many (the first ones again, to fill up), as gradients need; without,
    every index comes exactly once over all processes.
    """

    def __init__(self, count: int, *, seed: int, shuffle: bool, rank: int = 0, world: int = 1) -> None:
        self.count, self.seed, self.shuffle = count, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch, self.skip = 0, 0

    def start(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch, and how many of this process's indices to leave out at its beginning."""
        self.epoch, self.skip = epoch, skip

    def per_process(self) -> int:
        """Return how many indices this process gets in a whole epoch."""
        if self.shuffle:
            return math.ceil(self.count / self.world)
        return len(range(self.rank, self.count, self.world))

    def __len__(self) -> int:
        return max(0, self.per_process() - self.skip)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if not self.shuffle:
            mine = np.arange(self.rank, self.count, self.world)
        else:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
            whole = self.per_process() * self.world
            mine = np.resize(order, whole)[self.rank :: self.world]
        for index in mine[self.skip :]:
            yield self.epoch, int(index)
