"""Test the stream of inputs through read, infer and write: order, failures, stops and memory."""

import csv
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvkit.engine.stop import StopSignal
from cvkit.engine.streaming import stream as streams
from cvkit.engine.streaming.ledger import Counts, Ledger, Work
from cvkit.engine.streaming.stream import Stages, StreamSettings, WriteResult, prefetch, stream
from cvkit.errors import DataError, OutputError
from cvkit.inputs import Input
from cvkit.progress import Event, Note, Stage, StageEnd, Step, ignore


def numbered(tmp_path: Path, count: int) -> list[Input]:
    return [Input(path=tmp_path / f"{i}.in", name=f"{i:04d}", stem=f"{i:04d}") for i in range(count)]


class Doubler:
    """Doubles numbers in the three stages of a stream."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batches: list[list[int]] = []
        self.bad: dict[str, Callable[[int], None]] = {}

    def check(self, stage: str, number: int) -> None:
        if stage in self.bad:
            self.bad[stage](number)

    def read(self, item: Input) -> int:
        number = int(item.stem)
        self.check("read", number)
        return number

    def infer(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        for number in numbers:
            self.check("infer", number)
        return [2 * number for number in numbers]

    def write(self, item: Input, number: int, result: int) -> WriteResult:
        self.check("write", number)
        target = self.folder / f"{item.stem}.txt"
        target.write_text(str(result))
        return WriteResult([{"input": item.name, "result": result}], [target])

    def stages(self, shape: Callable[[int], Any] = lambda _: None) -> Stages[int, int]:
        return Stages(read=self.read, infer=self.infer, write=self.write, shape=shape)


def run(
    tmp_path: Path,
    count: int,
    doubler: Doubler,
    *,
    settings: StreamSettings,
    shape: Callable[[int], Any] = lambda _: None,
    report: Callable[[Event], None] = ignore,
    stop: StopSignal | None = None,
) -> tuple[bool, Counts]:
    inputs = numbered(tmp_path, count)
    work = Work(command="double", folder=doubler.folder, inputs=inputs, identity={}, columns=["input", "result"])
    with Ledger(work) as ledger:
        try:
            whole = stream(doubler.stages(shape), settings, ledger, report, stop or StopSignal())
        finally:
            counts = ledger.finish()
    return whole, counts


def rows(doubler: Doubler, name: str = "results.csv") -> list[list[str]]:
    with (doubler.folder / name).open(newline="") as stream:
        return list(csv.reader(stream))[1:]


def expected_rows(count: int, without: tuple[int, ...] = ()) -> list[list[str]]:
    """Return the expected table of results, in which the row of a failed input holds only its name."""
    return [[f"{i:04d}", "" if i in without else str(2 * i)] for i in range(count)]


@pytest.fixture
def doubler(tmp_path: Path) -> Doubler:
    return Doubler(tmp_path / "out")


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("read", "write"))]


def raising(bad: set[int], error: type[Exception], words: str = "it is bad") -> Callable[[int], None]:
    def check(number: int) -> None:
        if number in bad:
            raise error(words)

    return check


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_rows_come_in_input_order_at_every_batch_size(tmp_path: Path, doubler: Doubler, batch_size: int) -> None:
    rng = np.random.default_rng(batch_size)
    delays = rng.uniform(0, 0.004, (2, 30))
    doubler.bad = {
        "read": lambda number: time.sleep(delays[0, number]),
        "write": lambda number: time.sleep(delays[1, number]),
    }
    whole, counts = run(tmp_path, 30, doubler, settings=StreamSettings(batch_size=batch_size, readers=4, writers=3))
    assert whole and counts == Counts(inputs=30, skipped=0, done=30, failed=0)
    assert rows(doubler) == expected_rows(30)
    assert max(map(len, doubler.batches)) <= batch_size
    assert [number for batch in doubler.batches for number in batch] == list(range(30))


def test_batches_hold_one_shape_each(tmp_path: Path, doubler: Doubler) -> None:
    run(tmp_path, 50, doubler, settings=StreamSettings(batch_size=4), shape=lambda number: number % 3)
    assert all(len({number % 3 for number in batch}) == 1 for batch in doubler.batches)
    assert rows(doubler) == expected_rows(50)


def test_images_of_many_shapes_do_not_accumulate(tmp_path: Path, doubler: Doubler) -> None:
    run(tmp_path, 100, doubler, settings=StreamSettings(batch_size=4), shape=lambda number: number)
    assert rows(doubler) == expected_rows(100)
    assert doubler.batches[0] == [0] and len(doubler.batches) == 100


@pytest.mark.parametrize("stage", ["read", "infer", "write"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_error_belongs_to_one_input(tmp_path: Path, doubler: Doubler, stage: str, batch_size: int) -> None:
    doubler.bad = {stage: raising({0, 5, 19}, DataError)}
    whole, counts = run(tmp_path, 20, doubler, settings=StreamSettings(batch_size=batch_size))
    assert whole and counts == Counts(inputs=20, skipped=0, done=17, failed=3)
    assert rows(doubler) == expected_rows(20, without=(0, 5, 19))
    assert rows(doubler, "failures.csv") == [[f"{i:04d}", "data", "it is bad"] for i in (0, 5, 19)]


def test_an_error_of_the_shape_belongs_to_one_input(tmp_path: Path, doubler: Doubler) -> None:
    counts = run(tmp_path, 5, doubler, settings=StreamSettings(batch_size=2), shape=lambda number: 1 // (number - 2))[1]
    assert counts.failed == 1 and rows(doubler, "failures.csv")[0][:2] == ["0002", "ZeroDivisionError"]


def test_an_unknown_error_is_named_on_one_line(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"read": raising({1}, KeyError, "two\nlines"), "write": raising({2}, RuntimeError, "")}
    run(tmp_path, 3, doubler, settings=StreamSettings(batch_size=2))
    failures = rows(doubler, "failures.csv")
    assert failures[0][:2] == ["0001", "KeyError"] and failures[1] == ["0002", "RuntimeError", "RuntimeError"]
    assert "\n" not in failures[0][2]


def test_a_run_in_which_all_inputs_fail_is_complete(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"infer": raising(set(range(9)), RuntimeError)}
    assert run(tmp_path, 9, doubler, settings=StreamSettings(batch_size=4)) == (True, Counts(9, 0, 0, 9))


def test_a_failing_batch_is_halved(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"infer": raising({2}, RuntimeError)}
    run(tmp_path, 8, doubler, settings=StreamSettings(batch_size=8))
    assert doubler.batches == [list(range(8)), [0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_out_of_memory_makes_later_batches_smaller_and_is_noted(
    tmp_path: Path, doubler: Doubler, error: Exception
) -> None:
    stages = doubler.stages()
    events: list[Event] = []

    def infer(numbers: list[int]) -> list[int]:
        results = stages.infer(numbers)
        if len(numbers) > 2:
            raise error
        return results

    inputs = numbered(tmp_path, 24)
    work = Work(command="double", folder=doubler.folder, inputs=inputs, identity={}, columns=["input", "result"])
    small = Stages(read=stages.read, infer=infer, write=stages.write)
    with Ledger(work) as ledger:
        assert stream(small, StreamSettings(batch_size=8), ledger, events.append, StopSignal())
        assert ledger.finish().failed == 0
    assert rows(doubler) == expected_rows(24)
    assert sum(len(batch) > 2 for batch in doubler.batches) == 3  # batches of 8 and 4 are not tried again
    assert [event.text for event in events if isinstance(event, Note)] == [
        "8 images do not fit into memory: continuing with --batch-size 4",
        "4 images do not fit into memory: continuing with --batch-size 2",
    ]


def test_another_error_keeps_the_batch_size(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"infer": raising({3}, RuntimeError, "bad weights")}
    run(tmp_path, 24, doubler, settings=StreamSettings(batch_size=8))
    assert [len(batch) for batch in doubler.batches if batch[0] >= 8] == [8, 8]


def test_batches_grow_while_that_is_faster(tmp_path: Path, doubler: Doubler, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(streams.time, "perf_counter", lambda: clock[0])
    stages = doubler.stages()

    def infer(numbers: list[int]) -> list[int]:
        clock[0] += 0.1 + 0.001 * len(numbers)  # larger batches pay, because every batch costs 0.1 seconds
        if len(numbers) > 20:
            raise torch.OutOfMemoryError
        return stages.infer(numbers)

    inputs = numbered(tmp_path, 400)
    work = Work(command="double", folder=doubler.folder, inputs=inputs, identity={}, columns=["input", "result"])
    grows = Stages(read=stages.read, infer=infer, write=stages.write)
    with Ledger(work) as ledger:
        assert stream(grows, StreamSettings(batch_size=4, can_double=lambda: True), ledger, ignore, StopSignal())
        assert ledger.finish().failed == 0
    sizes = [len(batch) for batch in doubler.batches]
    assert rows(doubler) == expected_rows(400)
    assert sizes[:8] == [4] * 4 + [8] * 4 and set(sizes[8:-1]) == {16}  # 32 do not fit


def test_a_failed_batch_is_released_before_its_halves_run(tmp_path: Path, doubler: Doubler) -> None:
    alive: list[int] = []

    class Tensor:
        count = 0

        def __init__(self) -> None:
            Tensor.count += 1

        def __del__(self) -> None:
            Tensor.count -= 1

    def check(number: int) -> None:
        if number == 0:
            alive.append(Tensor.count)
        tensor = Tensor()
        if number == 1:
            del number
            raise RuntimeError(str(tensor)[:1])

    doubler.bad = {"infer": check}
    run(tmp_path, 4, doubler, settings=StreamSettings(batch_size=4))
    assert len(alive) == 3 and set(alive) == {0}


def test_a_full_disk_ends_the_stream(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"write": raising({3}, OutputError, "no space left")}
    with pytest.raises(OutputError, match="no space left"):
        run(tmp_path, 200, doubler, settings=StreamSettings(batch_size=2))
    assert len(rows(doubler)) < 50 and not threads_left()
    doubler.bad = {}
    assert run(tmp_path, 200, doubler, settings=StreamSettings(batch_size=2))[0] and rows(doubler) == expected_rows(200)


def test_a_signal_stops_after_a_drain_and_the_next_run_finishes(tmp_path: Path, doubler: Doubler) -> None:
    stop = StopSignal()

    def check(number: int) -> None:
        if number == 20:
            stop.request()

    doubler.bad = {"infer": check}
    whole, counts = run(tmp_path, 100, doubler, settings=StreamSettings(batch_size=4), stop=stop)
    assert not whole and 20 < counts.done < 50 and counts.failed == 0
    assert rows(doubler) == expected_rows(counts.done)  # every input that was read is written
    doubler.bad = {}
    again, rest = run(tmp_path, 100, doubler, settings=StreamSettings(batch_size=4))
    assert again and rest == Counts(inputs=100, skipped=counts.done, done=100 - counts.done, failed=0)
    assert rows(doubler) == expected_rows(100)


def test_a_signal_during_the_last_write_does_not_stop_early(tmp_path: Path, doubler: Doubler) -> None:
    stop = StopSignal()

    def check(number: int) -> None:
        if number == 9:
            stop.request()

    doubler.bad = {"write": check}
    assert run(tmp_path, 10, doubler, settings=StreamSettings(batch_size=2), stop=stop)[0]


def test_ctrl_c_leaves_no_threads_and_keeps_what_is_done(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"infer": raising({40}, KeyboardInterrupt)}  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 100, doubler, settings=StreamSettings(batch_size=2))
    assert not threads_left() and 20 < len(rows(doubler)) < 50


class Weight:
    """A loaded input; the class counts its live instances."""

    alive = most = 0
    lock = threading.Lock()

    def __init__(self, number: int) -> None:
        self.number = number
        with Weight.lock:
            Weight.alive += 1
            Weight.most = max(Weight.most, Weight.alive)

    def __del__(self) -> None:
        with Weight.lock:
            Weight.alive -= 1


@pytest.mark.parametrize("shapes", [1, 500])
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path, doubler: Doubler, shapes: int) -> None:
    Weight.alive = Weight.most = 0
    settings = StreamSettings(batch_size=4, readers=3, writers=1)

    def write(item: Input, loaded: Weight, result: int) -> WriteResult:
        time.sleep(0.0005)  # slower than reading: the waiting inputs must not accumulate
        return doubler.write(item, loaded.number, result)

    stages: Stages[Weight, int] = Stages(
        read=lambda item: Weight(doubler.read(item)),
        infer=lambda batch: doubler.infer([loaded.number for loaded in batch]),
        write=write,
        shape=lambda loaded: loaded.number % shapes,
    )
    inputs = numbered(tmp_path, 500)
    work = Work(command="double", folder=doubler.folder, inputs=inputs, identity={}, columns=["input", "result"])
    with Ledger(work) as ledger:
        assert stream(stages, settings, ledger, ignore, StopSignal())
        ledger.finish()
    # Prefetched: 2 batches and one input per reader; waiting for others of its shape: 4 batches; being written: 3.
    assert Weight.most <= 9 * settings.batch_size + settings.readers + 2
    assert Weight.alive == 0 and rows(doubler) == expected_rows(500)


def test_progress_is_reported(tmp_path: Path, doubler: Doubler) -> None:
    doubler.bad = {"read": raising({1}, DataError)}
    events: list[Event] = []
    run(tmp_path, 3, doubler, settings=StreamSettings(batch_size=2), report=events.append)
    assert events[0] == Stage("double", 3) and events[-1] == StageEnd()
    assert [event.done for event in events if isinstance(event, Step)] == [1, 2, 3]
    last = events[-2]
    assert isinstance(last, Step) and last.done == 3 and last.figures["failed"] == 1


def test_prefetch_keeps_the_order_and_reads_a_bounded_number_of_items() -> None:
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        time.sleep(0.002 * (number % 3))
        return number * number

    results = prefetch(read, range(50), threads=3)
    assert next(results) == 0 and len(begun) <= 7
    assert list(results) == [number * number for number in range(1, 50)]
    assert list(prefetch(read, [], threads=2)) == []


def test_prefetch_raises_the_error_of_its_function() -> None:
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda number: 1 // number, [1, 0, 1], threads=2))


@pytest.mark.parametrize("slowest", ["reading", "the model"])
def test_progress_names_the_slowest_stage(tmp_path: Path, slowest: str) -> None:
    shown: list[Any] = []

    def read(item: Input) -> int:
        time.sleep(0.01 if slowest == "reading" else 0)
        return int(item.stem)

    def infer(batch: list[int]) -> list[int]:
        time.sleep(0.02 if slowest == "the model" else 0)
        return batch

    def report(event: Event) -> None:
        if isinstance(event, Step):
            shown.append(event.figures["slowest"])

    work = Work(command="test", folder=tmp_path / "out", inputs=numbered(tmp_path, 12), identity={}, columns=["image"])
    stages = Stages(read=read, infer=infer, write=lambda item, _, __: WriteResult([{"image": item.name}], []))
    with Ledger(work) as ledger:
        stream(stages, StreamSettings(batch_size=2, readers=1, writers=1), ledger, report, StopSignal())
    assert shown[-1] == slowest


def test_prefetch_drops_the_waiting_items_when_its_consumer_stops() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def read(number: int) -> int:
        begun.append(number)
        if number:
            go_on.wait(30)
        return number

    results = prefetch(read, range(50), threads=2)
    assert next(results) == 0
    threading.Timer(0.2, go_on.set).start()
    results.close()
    assert len(begun) <= 3  # item 0, and the two that the threads were reading; two more were waiting
