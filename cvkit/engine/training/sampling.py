"""Choose the examples of each batch as a function of (seed, epoch, process), and load the batches."""

import math
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from cvkit.engine.stop import leave_signals_to_the_parent
from cvkit.engine.training.learner import Batch, Data

Key = tuple[int, NDArray[np.int64]]


class EpochSampler(Sampler[Key]):
    """Yields ``(epoch, indices)`` for each batch of one process.

    With ``shuffle`` the order changes every epoch and every process gets equally many examples, as gradients need; the
    first examples of the order are repeated to fill up. Without it, every index comes exactly once over all processes.

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
            own = math.ceil(self.count / self.world_size)
        else:
            own = len(range(self.rank, self.count, self.world_size))
        return math.ceil(own / self.batch_size)

    def __len__(self) -> int:
        return max(0, self.batches() - self.skip)

    def __iter__(self) -> Iterator[Key]:
        if not self.shuffle:
            own = np.arange(self.rank, self.count, self.world_size)
        else:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
            whole = math.ceil(self.count / self.world_size) * self.world_size
            own = np.resize(order, whole)[self.rank :: self.world_size]
        for begin in range(self.skip * self.batch_size, len(own), self.batch_size):
            yield self.epoch, own[begin : begin + self.batch_size]


class _Batches(Dataset[Batch]):
    """The batches of a data set by the sampler's keys."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __getitem__(self, key: Key) -> Batch:
        return self.data.batch(*key)


def make_loader(data: Data, sampler: EpochSampler, *, workers: int, pin: bool) -> DataLoader[Batch]:
    """Return a loader of the sampler's batches.

    Args:
        data: The examples.
        sampler: The batches to load.
        workers: Number of loading processes, 0 to load in this one.
        pin: Whether to put the batches into pinned memory.
    """
    return DataLoader(
        _Batches(data),
        batch_size=None,  # the data set returns whole batches
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers > 0 else None,
        pin_memory=pin,
        # Forked workers share the images kept in memory; each spawned worker would get a copy.
        multiprocessing_context="fork" if workers > 0 and sys.platform == "linux" else None,
        worker_init_fn=leave_signals_to_the_parent,
    )


def timed(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Yield each batch with the seconds spent waiting for it."""
    iterator = iter(batches)
    while True:
        began = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began


def end_workers(loader: DataLoader[Batch]) -> None:
    """End a loader's processes now, not when its last reference is gone.

    An error that leaves the loop can keep the loader alive until the interpreter ends, which sends its children one
    SIGTERM and waits for them, and a worker ignores the first SIGTERM (``leave_signals_to_the_parent``).
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
