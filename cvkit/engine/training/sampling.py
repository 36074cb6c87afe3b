"""Which examples come when, a function of (seed, epoch, process) alone, and the batches they come in."""

import math
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from cvkit.engine.stop import leave_signals_to_the_parent
from cvkit.engine.training.learner import Batch, Data

Key = tuple[int, NDArray[np.int64]]


class EpochSampler(Sampler[Key]):
    """Yields ``(epoch, indices)``, a batch at a time: a fresh order every epoch, shared out over the processes.

    With ``shuffle`` every process gets equally many (the first ones again, to fill up), as gradients need; without,
    every index comes exactly once over all processes. An epoch may begin at any of its batches.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, shuffle: bool, rank: int = 0, world: int = 1) -> None:
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch, self.skip = 0, 0

    def start(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch, and how many of this process's batches to leave out at its beginning."""
        self.epoch, self.skip = epoch, skip

    def batches(self) -> int:
        """Return how many batches this process gets in a whole epoch."""
        mine = math.ceil(self.count / self.world) if self.shuffle else len(range(self.rank, self.count, self.world))
        return math.ceil(mine / self.batch_size)

    def __len__(self) -> int:
        return max(0, self.batches() - self.skip)

    def __iter__(self) -> Iterator[Key]:
        if not self.shuffle:
            mine = np.arange(self.rank, self.count, self.world)
        else:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
            whole = math.ceil(self.count / self.world) * self.world
            mine = np.resize(order, whole)[self.rank :: self.world]
        for begin in range(self.skip * self.batch_size, len(mine), self.batch_size):
            yield self.epoch, mine[begin : begin + self.batch_size]


class _Batches(Dataset[Batch]):
    """A data set by the sampler's keys."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __getitem__(self, key: Key) -> Batch:
        return self.data.batch(*key)


def make_loader(data: Data, sampler: EpochSampler, *, workers: int, pin: bool) -> DataLoader[Batch]:
    """Return what makes the sampler's batches, made ahead in ``workers`` processes, in pinned memory with ``pin``."""
    return DataLoader(
        _Batches(data),
        batch_size=None,  # what the data set gives is a batch already
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers > 0 else None,
        pin_memory=pin,
        # Forked workers share what is kept in memory; spawned ones would each get a copy.
        multiprocessing_context="fork" if workers > 0 and sys.platform == "linux" else None,
        worker_init_fn=leave_signals_to_the_parent,
    )


def end_workers(loader: DataLoader[Batch]) -> None:
    """End a loader's processes now, and not when its last reference is gone.

    An error that leaves the loop can keep the loader alive until the interpreter ends, which sends its children one
    SIGTERM and waits for them: a worker passes over that one (``leave_signals_to_the_parent``).
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
