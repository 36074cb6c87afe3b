"""Many files through a model: reading, inference and writing overlap, in bounded memory, results in input order."""

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

from cvkit.engine.stop import StopSignal
from cvkit.engine.streaming.ledger import Ledger
from cvkit.errors import CvkitError, OutputError
from cvkit.files import Input
from cvkit.progress import Reporter, Stage, StageEnd, Step

Loaded = TypeVar("Loaded")
Inferred = TypeVar("Inferred")


@dataclass(frozen=True)
class Written:
    """What writing one input's results gave: its rows of ``results.csv`` and its files."""

    rows: Sequence[dict[str, Any]]
    files: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class Stages(Generic[Loaded, Inferred]):
    """What a command does to an input.

    ``read`` runs in reading threads, ``infer`` takes a batch of one ``shape`` in the calling thread and returns a
    result for each, ``write`` runs in writing threads.
    """

    read: Callable[[Input], Loaded]
    infer: Callable[[list[Loaded]], list[Inferred]]
    write: Callable[[Input, Loaded, Inferred], Written]
    shape: Callable[[Loaded], Hashable] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many images a batch has, and how many threads read and write."""

    batch_size: int
    readers: int = 2
    writers: int = 2


@dataclass(frozen=True)
class _Held(Generic[Loaded]):
    item: Input
    loaded: Loaded


class _Pipe(Generic[Loaded, Inferred]):
    def __init__(self, stages: Stages[Loaded, Inferred], pace: Pace, ledger: Ledger, listen: Reporter) -> None:
        self.stages, self.pace, self.ledger, self.listen = stages, pace, ledger, listen
        self.groups: dict[Hashable, list[_Held[Loaded]]] = {}
        self.writing: deque[tuple[Input, Future[Written]]] = deque()
        self.writers = ThreadPoolExecutor(pace.writers, thread_name_prefix="write")
        self.batch_size = pace.batch_size
        self.finished = 0
        self.waited = {"reading": 0.0, "the model": 0.0, "writing": 0.0}  # seconds, of the thread that runs the model

    def take(self, item: Input, reading: "Future[Loaded]") -> None:
        """Add one read input to the batch of its shape, and run the batch when it is full."""
        try:
            with self._waiting("reading"):
                held = _Held(item, reading.result())
            shape = self.stages.shape(held.loaded)
        except Exception as error:
            self.fail(item, error)
            return
        group = self.groups.setdefault(shape, [])
        group.append(held)
        if len(group) >= self.batch_size:
            self.run(self.groups.pop(shape))
        elif sum(map(len, self.groups.values())) > 4 * self.pace.batch_size:
            # Many shapes: run the fullest batch as it is, so that what waits stays bounded.
            fullest = max(self.groups, key=lambda shape: len(self.groups[shape]))
            self.run(self.groups.pop(fullest))

    def run(self, batch: list[_Held[Loaded]]) -> None:
        """Infer a batch and hand its results to the writers; a batch that fails is tried in halves, then one by one."""
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
        for held, result in zip(batch, results, strict=True):
            future = self.writers.submit(self.stages.write, held.item, held.loaded, result)
            self.writing.append((held.item, future))
        self.settle(2 * self.pace.batch_size)

    def _infer(self, batch: list[_Held[Loaded]]) -> list[Inferred] | None:
        """Return a result for each of a batch, none for a single input that failed, or None: try smaller batches."""
        try:
            return self.stages.infer([held.loaded for held in batch])
        except Exception as error:
            if len(batch) > 1:
                if isinstance(error, torch.OutOfMemoryError):
                    self.batch_size = min(self.batch_size, len(batch) // 2)  # the next would not fit either
                return None
            self.fail(batch[0].item, error)
            batch.clear()
            return []

    def settle(self, allowed: int) -> None:
        """Note what is written, waiting until at most ``allowed`` results are under way."""
        while self.writing and (len(self.writing) > allowed or self.writing[0][1].done()):
            item, future = self.writing.popleft()
            try:
                with self._waiting("writing"):
                    written = future.result()
                self.ledger.note_done(item, written.rows, written.files)
            except OutputError:
                raise  # a full disk fails every file to come: stop here
            except Exception as error:
                self.fail(item, error)
                continue
            self._tell()

    def fail(self, item: Input, error: Exception) -> None:
        """Note a failed input: our own kinds by their kind, anything else by the name of the exception."""
        kind = error.kind if isinstance(error, CvkitError) else type(error).__name__
        self.ledger.note_failed(item, kind, " ".join(str(error).split()) or kind)
        self._tell()

    def _tell(self) -> None:
        """Tell that one more input is finished, how many failed, and what the work waits for most."""
        self.finished += 1
        failed = {"failed": self.ledger.failed} if self.ledger.failed else {}
        self.listen(Step(self.finished, {**failed, "slowest": max(self.waited, key=lambda part: self.waited[part])}))

    @contextmanager
    def _waiting(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.waited[part] += time.perf_counter() - began

    def drain(self) -> None:
        """Run what is left of every batch and wait for the writers."""
        for shape in list(self.groups):
            self.run(self.groups.pop(shape))
        self.settle(0)


def stream(stages: Stages[Loaded, Inferred], pace: Pace, ledger: Ledger, listen: Reporter, stop: StopSignal) -> bool:
    """Send the ledger's inputs through the stages; return False when a signal stopped it early.

    Then what has gone through the model is written first, and what was only read is left for the next run.

    An error in any stage belongs to one input and goes to the ledger; only OutputError (a full disk) ends the work.
    What is read ahead and what waits to be written are bounded, so memory does not grow with the number of files.
    """
    inputs = ledger.todo
    listen(Stage(ledger.work.command, len(inputs)))
    pipe = _Pipe(stages, pace, ledger, listen)
    ahead = 2 * pace.batch_size + pace.readers
    reading: deque[tuple[Input, Future[Loaded]]] = deque()
    coming = iter(inputs)
    readers = ThreadPoolExecutor(pace.readers, thread_name_prefix="read")
    try:
        while True:
            while len(reading) < ahead and not stop.requested and (item := next(coming, None)) is not None:
                reading.append((item, readers.submit(stages.read, item)))
            if not reading or stop.requested:
                break
            pipe.take(*reading.popleft())
        if stop.requested:
            pipe.settle(0)  # what has been inferred is written; what waits is for the next run
        else:
            pipe.drain()
    finally:
        readers.shutdown(cancel_futures=True)
        pipe.writers.shutdown(cancel_futures=True)
        listen(StageEnd())
    return not reading and not pipe.groups and next(coming, None) is None


def ahead(read: Callable[[Any], Loaded], things: Iterable[Any], *, threads: int) -> Iterator[Loaded]:
    """Yield ``read(thing)`` for each thing in order, reading a few ahead in threads."""
    coming = iter(things)
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        waiting = deque(pool.submit(read, thing) for thing in itertools.islice(coming, 2 * threads))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(read, thing) for thing in itertools.islice(coming, 1))
            yield result
