"""Test the loading of batches, and what happens when a loading process fails."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvkit.engine.training.loading import BatchLoader, worker_failure
from cvkit.engine.training.sampling import EpochSampler
from cvkit.errors import DataError, TrainingError


class Numbers:
    """Eight examples; ``before`` is called in the loading process before the batch with the example 4 is made."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.device = torch.device("cpu")
        self.before = before

    def __len__(self) -> int:
        return 8

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        del epoch
        if 4 in indices:
            self.before()
        return {"index": torch.from_numpy(indices.copy())}


@pytest.fixture
def load() -> Iterator[Callable[..., BatchLoader]]:
    """Return a function that opens a loader with two processes, which are ended after the test."""
    loaders: list[BatchLoader] = []

    def opened(before: Callable[[], None] = lambda: None, workers: int = 2) -> BatchLoader:
        sampler = EpochSampler(8, 2, seed=0, shuffle=False)
        loaders.append(BatchLoader(Numbers(before), sampler, workers=workers, pin=False))
        return loaders[-1]

    yield opened
    for loader in loaders:
        loader.end_workers()


def test_end_workers_ends_the_processes_of_a_loader_that_is_still_referenced(load: Callable[..., BatchLoader]) -> None:
    before = set(multiprocessing.active_children())
    loader = load()
    batches = iter(loader)
    assert next(batches)["index"].tolist() == [0, 1]
    assert len(set(multiprocessing.active_children()) - before) == 2
    loader.end_workers()
    assert set(multiprocessing.active_children()) == before
    loader.end_workers()  # a second call does nothing


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_loading_process_keeps_its_type_and_message(
    load: Callable[..., BatchLoader], workers: int
) -> None:
    def fail() -> None:
        raise DataError("photo.jpg: damaged image.")

    with pytest.raises(DataError, match=r"^photo.jpg: damaged image\.$"):
        list(load(fail, workers))


def test_a_file_that_vanishes_during_the_run_is_named(load: Callable[..., BatchLoader]) -> None:
    def fail() -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "data/photo.jpg")

    with pytest.raises(DataError, match=r"data/photo\.jpg can no longer be read \(No such file or directory\)"):
        list(load(fail))


def test_a_killed_loading_process_ends_the_iteration(load: Callable[..., BatchLoader]) -> None:
    with pytest.raises((TrainingError, RuntimeError)) as error:
        list(load(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    # The signal that reports the end can interrupt the test outside the loader.
    message = str(error.value) if isinstance(error.value, TrainingError) else worker_failure(error.value)
    assert "a loading process ended unexpectedly" in str(message)


def test_a_loading_process_that_exits_ends_the_iteration(load: Callable[..., BatchLoader]) -> None:
    with pytest.raises((TrainingError, RuntimeError)) as error:
        list(load(lambda: os._exit(7)))
    message = str(error.value) if isinstance(error.value, TrainingError) else worker_failure(error.value)
    assert "a loading process ended unexpectedly" in str(message)


def test_a_signal_that_comes_after_the_failure_is_ignored(
    load: Callable[..., BatchLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(load())
    handler = signal.getsignal(signal.SIGCHLD)
    assert callable(handler)  # that of PyTorch, which the first loader has set

    def lost(*_: object) -> None:
        time.sleep(0.3)  # until the processes have ended
        raise ConnectionResetError

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data", lost)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # the loader notices the end by the lost connection
    try:
        with pytest.raises(TrainingError, match="a loading process ended unexpectedly"):
            list(load(lambda: os._exit(7)))
        handler(signal.SIGCHLD, None)
    finally:
        signal.signal(signal.SIGCHLD, handler)


def test_full_shared_memory_is_reported_and_does_not_hang(
    load: Callable[..., BatchLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Tensor) -> Tensor:
        raise RuntimeError("unable to write to file </torch_123_4_5>: No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", full)
    with pytest.raises(TrainingError, match=r"shared memory of this machine \(/dev/shm\) is full: use fewer --workers"):
        list(load())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DataLoader worker (pid 9) is killed by signal: Killed. ", "(signal: Killed)"),
        ("DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers", "--shm"),
        ("DataLoader worker (pid 9) exited unexpectedly with exit code 3. Details are lost", "(exit code 3)"),
        ("DataLoader worker (pid(s) 9, 10) exited unexpectedly", "unexpectedly, perhaps"),
    ],
)
def test_messages_of_pytorch_about_workers_are_understood(text: str, said: str) -> None:
    assert said in str(worker_failure(RuntimeError(text)))
    assert worker_failure(RuntimeError("shape mismatch")) is None


def test_a_program_that_ends_does_not_wait_for_loading_processes(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import time\n"
        "from cvkit.engine.training.loading import BatchLoader\n"
        "from cvkit.engine.training.sampling import EpochSampler\n"
        "from tests.engine.training.test_loading import Numbers\n"
        "loader = BatchLoader(Numbers(lambda: time.sleep(1000)), EpochSampler(8, 2, seed=0, shuffle=False), workers=2,"
        " pin=False)\n"
        "kept = iter(loader)\n"
        "next(kept)\n"
        "raise SystemExit(5)\n"
    )
    command = [sys.executable, str(script)]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, timeout=60, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert ended.returncode == 5
