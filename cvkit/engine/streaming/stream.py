"""Stream many files through a model: reading, inference and writing overlap in bounded memory, in input order."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from cvkit.device import is_out_of_memory
from cvkit.engine.stop import StopSignal
from cvkit.engine.streaming.batch_size import BatchSize
from cvkit.engine.streaming.ledger import Ledger
from cvkit.errors import CvkitError, OutputError
from cvkit.inputs import Input
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step

Loaded = TypeVar("Loaded")
Inferred = TypeVar("Inferred")


@dataclass(frozen=True)
class WriteResult:
    """The result of writing one input: its rows of ``results.csv`` and its files."""

    rows: Sequence[dict[str, Any]]
    files: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class Stages(Generic[Loaded, Inferred]):
    """The stages that every input goes through.

    Attributes:
        read: Loads an input, in reader threads.
        infer: Returns one result per input of a batch of equal ``shape``, in the calling thread.
        write: Writes the result of an input, in writer threads.
        shape: Returns a key that is equal for inputs that fit into one batch.
    """

    read: Callable[[Input], Loaded]
    infer: Callable[[list[Loaded]], list[Inferred]]
    write: Callable[[Input, Loaded, Inferred], WriteResult]
    shape: Callable[[Loaded], Hashable] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """The number of images per batch, and the numbers of reader and writer threads.

    Attributes:
        batch_size: Images per batch at the start.
        can_double: Returns whether memory suffices for batches of twice the size; None if the size must not grow.
        readers: Number of reader threads.
        writers: Number of writer threads.
    """

    batch_size: int
    can_double: Callable[[], bool] | None = None
    readers: int = 2
    writers: int = 2


class _Pipeline(Generic[Loaded, Inferred]):
    """Batches of loaded inputs that wait for the model, and results that wait to be written."""

    def __init__(
        self, stages: Stages[Loaded, Inferred], settings: StreamSettings, ledger: Ledger, report: Reporter
    ) -> None:
        self.stages, self.settings, self.ledger, self.report = stages, settings, ledger, report
        self.groups: dict[Hashable, list[tuple[Input, Loaded]]] = {}
        self.writes: deque[tuple[Input, Future[WriteResult]]] = deque()
        self.writers = ThreadPoolExecutor(settings.writers, thread_name_prefix="write")
        self.batch_size = BatchSize(settings.batch_size, settings.can_double)
        self.finished = 0
        self.waited = {"reading": 0.0, "the model": 0.0, "writing": 0.0}  # seconds, of the thread that runs the model

    def add(self, item: Input, read: "Future[Loaded]") -> None:
        """Add one loaded input to the batch of its shape, and run the batch when it is full."""
        try:
            with self._waiting("reading"):
                loaded = read.result()
            shape = self.stages.shape(loaded)
        except Exception as error:
            self.fail(item, error)
            return
        group = self.groups.setdefault(shape, [])
        group.append((item, loaded))
        if len(group) >= self.batch_size.images:
            self.run(self.groups.pop(shape))
        elif sum(map(len, self.groups.values())) > 4 * self.batch_size.images:
            # Many shapes: run the fullest batch although it is not full, so that the waiting inputs stay bounded.
            fullest = max(self.groups, key=lambda shape: len(self.groups[shape]))
            self.run(self.groups.pop(fullest))

    def run(self, batch: list[tuple[Input, Loaded]]) -> None:
        """Infer a batch and pass its results to the writers; a failed batch is retried in halves, down to one input."""
        with self._waiting("the model"):
            results = self._infer(batch)
        if results is None:
            # Outside the handler of the error, whose traceback keeps the memory of the failed batch.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            middle = len(batch) // 2
            self.run(batch[:middle])
            self.run(batch[middle:])
            return
        for (item, loaded), result in zip(batch, results, strict=True):
            self.writes.append((item, self.writers.submit(self.stages.write, item, loaded, result)))
        self.collect_writes(2 * self.batch_size.images)

    def _infer(self, batch: list[tuple[Input, Loaded]]) -> list[Inferred] | None:
        """Return one result per input, no result for a single input that failed, or None to retry in halves."""
        began = time.perf_counter()
        try:
            results = self.stages.infer([loaded for _, loaded in batch])
            self.batch_size.add_time(len(batch), time.perf_counter() - began)
            return results
        except Exception as error:
            if len(batch) > 1:
                # The next batch of this size would not fit either.
                if is_out_of_memory(error) and self.batch_size.out_of_memory(len(batch)):
                    images = f"{len(batch)} images do not fit into memory"
                    self.report(Note(f"{images}: continuing with --batch-size {self.batch_size.images}", "warning"))
                return None
            self.fail(batch[0][0], error)
            batch.clear()
            return []

    def collect_writes(self, allowed: int) -> None:
        """Record finished writes, waiting until at most ``allowed`` are unfinished."""
        while self.writes and (len(self.writes) > allowed or self.writes[0][1].done()):
            item, write = self.writes.popleft()
            try:
                with self._waiting("writing"):
                    written = write.result()
                self.ledger.record_done(item, written.rows, written.files)
            except OutputError:
                raise  # a full disk fails every later file too: stop here
            except Exception as error:
                self.fail(item, error)
                continue
            self._report_step()

    def fail(self, item: Input, error: Exception) -> None:
        """Record a failed input: cvkit's errors by their kind, others by the name of the exception."""
        kind = error.kind if isinstance(error, CvkitError) else type(error).__name__
        self.ledger.record_failure(item, kind, " ".join(str(error).split()) or kind)
        self._report_step()

    def _report_step(self) -> None:
        """Report that one more input is finished, how many failed, and which part the stream waits for most."""
        self.finished += 1
        failed = {"failed": self.ledger.failed} if self.ledger.failed else {}
        self.report(Step(self.finished, {**failed, "slowest": max(self.waited, key=lambda part: self.waited[part])}))

    @contextmanager
    def _waiting(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.waited[part] += time.perf_counter() - began

    def drain(self) -> None:
        """Run the remaining batches and wait for the writers."""
        for shape in list(self.groups):
            self.run(self.groups.pop(shape))
        self.collect_writes(0)


def stream(
    stages: Stages[Loaded, Inferred], settings: StreamSettings, ledger: Ledger, report: Reporter, stop: StopSignal
) -> bool:
    """Send the ledger's inputs through the stages, and return whether all were processed.

    An error in any stage belongs to one input and goes to the ledger; only OutputError (a full disk) ends the stream.
    The inputs that are read in advance and the results that wait to be written are bounded, so memory does not grow
    with the number of files. After a signal (``stop``), the results of the model are written, inputs that were only
    read are left for the next run, and the function returns False.

    Raises:
        OutputError: If a result cannot be written.
    """
    inputs = ledger.todo
    report(Stage(ledger.work.command, len(inputs)))
    pipeline = _Pipeline(stages, settings, ledger, report)
    reads: deque[tuple[Input, Future[Loaded]]] = deque()
    remaining = iter(inputs)
    readers = ThreadPoolExecutor(settings.readers, thread_name_prefix="read")
    try:
        while True:
            limit = 2 * pipeline.batch_size.images + settings.readers
            while len(reads) < limit and not stop.requested and (item := next(remaining, None)) is not None:
                reads.append((item, readers.submit(stages.read, item)))
            if not reads or stop.requested:
                break
            pipeline.add(*reads.popleft())
        if stop.requested:
            pipeline.collect_writes(0)
        else:
            pipeline.drain()
    finally:
        readers.shutdown(cancel_futures=True)
        pipeline.writers.shutdown(cancel_futures=True)
        report(StageEnd())
    return not reads and not pipeline.groups and next(remaining, None) is None


def prefetch(
    read: Callable[[Any], Loaded], items: Iterable[Any], *, threads: int, ahead: int | None = None
) -> Iterator[Loaded]:
    """Yield ``read(item)`` for each item in order.

    Threads read up to ``ahead`` items in advance, ``2 * threads`` by default.
    """
    remaining = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
    try:
        reads = deque(pool.submit(read, item) for item in itertools.islice(remaining, ahead or 2 * threads))
        while reads:
            result = reads.popleft().result()
            reads.extend(pool.submit(read, item) for item in itertools.islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or a signal, only the items in progress are finished
