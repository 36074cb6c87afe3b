"""Load batches, in worker processes or in this one, and report what goes wrong in a worker."""

import atexit
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch.multiprocessing import active_children
from torch.utils.data import DataLoader, Dataset, get_worker_info

from cvkit.engine.memory import release_freed_memory
from cvkit.engine.stop import leave_signals_to_the_parent, signals_deferred
from cvkit.engine.training.learner import Batch, Data
from cvkit.engine.training.sampling import EpochSampler, Key
from cvkit.errors import CvkitError, DataError, TrainingError
from cvkit.messages import reason

PREFETCH = 4  # batches per worker that are loaded in advance
JOIN_SECONDS = 10.0  # longest wait for a process that was killed
_SHARED_MEMORY = re.compile("shared memory|/torch_|bus error", re.IGNORECASE)
NO_SHARED_MEMORY = (
    "the shared memory of this machine (/dev/shm) is full: use fewer --workers or a smaller --batch-size, or start the "
    "container with more of it (--shm-size)."
)
WORKER_ENDED = "a loading process ended unexpectedly{how}, perhaps for lack of memory: use fewer --workers."


class _Batches(Dataset[Batch | CvkitError]):
    """The batches of a data set by the sampler's keys. A worker returns an error in place of a batch.

    PyTorch would replace the error of a worker by one whose message is a traceback.
    """

    def __init__(self, data: Data) -> None:
        self.data = data

    def __getitem__(self, key: Key) -> Batch | CvkitError:
        if get_worker_info() is None:
            return self.data.batch(*key)
        try:
            batch = self.data.batch(*key)
        except CvkitError as error:
            return error
        except OSError as error:
            return DataError(f"{error.filename or 'an image'} can no longer be read ({reason(error)}).")
        return _shared(batch)


def _shared(batch: Batch) -> Batch | CvkitError:
    """Move a batch to shared memory, from where the parent reads it.

    PyTorch would do so in a thread of the worker, where an error loses the batch and the parent waits for ever.
    """
    try:
        return {name: value.share_memory_() for name, value in batch.items()}
    except RuntimeError as error:
        if _SHARED_MEMORY.search(str(error)) is None:
            raise
        return TrainingError(NO_SHARED_MEMORY)


class BatchLoader(DataLoader[Any]):
    """A loader of the sampler's batches.

    Args:
        data: The examples.
        sampler: The batches to load.
        workers: Number of loading processes, 0 to load in this one.
        pin: Whether to put the batches into pinned memory.
    """

    def __init__(self, data: Data, sampler: EpochSampler, *, workers: int, pin: bool) -> None:
        super().__init__(
            _Batches(data),
            batch_size=None,  # the data set returns whole batches
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers > 0 else None,
            pin_memory=pin,
            # Forked workers share the images kept in memory; each spawned worker would get a copy.
            multiprocessing_context="fork" if workers > 0 and sys.platform == "linux" else None,
            worker_init_fn=leave_signals_to_the_parent,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches.

        Raises:
            CvkitError: If a worker cannot load a batch.
            TrainingError: If a worker ended.
        """
        if self.num_workers and getattr(self, "_iterator", None) is None:
            release_freed_memory()
        with signals_deferred():
            batches = super().__iter__()
        while True:
            try:
                with _worker_failures() if self.num_workers else nullcontext():
                    batch = next(batches, None)
            except TrainingError:
                # The signal of the same end may come later, and would raise an error wherever the program is then.
                self._forget_workers()
                raise
            if batch is None:
                return
            if isinstance(batch, CvkitError):
                raise batch
            yield batch

    def _forget_workers(self) -> None:
        """Tell PyTorch to raise no more errors when a loading process ends."""
        iterator: Any = getattr(self, "_iterator", None)
        if iterator is not None and iterator._worker_pids_set:
            from torch.utils.data._utils import signal_handling

            signal_handling._remove_worker_pids(id(iterator))
            iterator._worker_pids_set = False

    def end_workers(self) -> None:
        """End the loading processes now, not when the last reference to the loader is gone.

        A worker keeps nothing that is worth saving, so SIGKILL ends it. PyTorch would ask it through locks, which a
        worker that the system killed may hold for ever.
        """
        iterator: Any = getattr(self, "_iterator", None)
        if iterator is None or iterator._shutdown:
            return
        self._forget_workers()  # their end is no failure
        iterator._shutdown = True
        if hasattr(iterator, "_pin_memory_thread"):
            iterator._pin_memory_thread_done_event.set()
            iterator._worker_result_queue.put((None, None))
            iterator._pin_memory_thread.join(JOIN_SECONDS)
        for worker in iterator._workers:
            worker.kill()
        for worker in iterator._workers:
            worker.join(JOIN_SECONDS)
        for queue in (*iterator._index_queues, iterator._worker_result_queue):
            queue.cancel_join_thread()
            queue.close()


@contextmanager
def _worker_failures() -> Iterator[None]:
    """Turn the errors by which PyTorch and multiprocessing report the end of a worker into a TrainingError."""
    try:
        yield
    except (ConnectionError, EOFError, FileNotFoundError) as error:  # a batch whose owner is gone
        raise TrainingError(WORKER_ENDED.format(how="")) from error
    except RuntimeError as error:
        message = worker_failure(error)
        if message is None:
            raise
        raise TrainingError(message) from error


@atexit.register
def _kill_children() -> None:
    """Kill the loading processes that are left when the program ends.

    multiprocessing would send them SIGTERM, which they ignore, and wait for them.
    """
    for child in active_children():
        child.kill()


def timed(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Yield each batch with the seconds spent waiting for it."""
    iterator = iter(batches)
    while True:
        began = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began


def worker_failure(error: RuntimeError) -> str | None:
    """Return what happened to a loading process if PyTorch raised ``error`` for its end, and what to do; else None."""
    # PyTorch raises the second kind of error below from the first one, which knows the signal.
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    if not text.startswith("DataLoader worker"):
        return None
    if _SHARED_MEMORY.search(text):
        return NO_SHARED_MEMORY
    match = re.search(r"killed by signal: (\w+(?: \w+)?)|exit code (-?\d+)", text)
    how = "" if match is None else f" (signal: {match[1]})" if match[1] else f" (exit code {match[2]})"
    return WORKER_ENDED.format(how=how)
