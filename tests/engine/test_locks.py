"""Test that one process at a time writes an output folder."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from cvkit.engine import locks
from cvkit.engine.locks import sole_writer
from cvkit.errors import OutputError
from cvkit.inputs import RESULT_MARK

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
# A process that locks a folder and has a loading worker.
HOLDER = """
import os, sys, time
from pathlib import Path
from cvkit.engine.locks import sole_writer
with sole_writer(Path(sys.argv[1])):
    if os.fork() == 0:
        print("worker", os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run" / RESULT_MARK).mkdir(parents=True)
    return tmp_path / "run"


def test_a_second_process_is_refused_with_the_holder_and_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.0)
    with sole_writer(folder) as lock:
        assert lock.exclusive
        with pytest.raises(OutputError, match=rf"run is being written by process {os.getpid()} on .*writer\.lock"):
            sole_writer(folder).__enter__()
    with sole_writer(folder) as lock:
        assert lock.exclusive


def test_a_damaged_lock_file_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.0)
    with sole_writer(folder):
        (folder / RESULT_MARK / locks.WRITER).write_bytes(b"\xff" * 1000)
        with pytest.raises(OutputError, match="run is being written by"):
            sole_writer(folder).__enter__()
    with sole_writer(folder) as lock:
        assert lock.exclusive


def test_a_process_waits_for_the_one_that_it_replaces(folder: Path) -> None:
    first = sole_writer(folder)
    first.__enter__()
    threading.Timer(0.2, lambda: first.__exit__(None, None, None)).start()
    with sole_writer(folder) as lock:
        assert lock.exclusive


def test_the_lock_of_a_killed_process_is_free_although_its_workers_live(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    output: IO[str] | None = process.stdout
    assert output is not None
    worker = int(output.readline().split()[1])
    try:
        monkeypatch.setattr(locks, "WAIT_S", 0.0)
        with pytest.raises(OutputError, match=f"being written by process {process.pid} on"):
            sole_writer(folder).__enter__()
        monkeypatch.undo()
        process.kill()
        process.wait()
        with sole_writer(folder) as lock:
            assert lock.exclusive
        os.kill(worker, 0)  # still there
    finally:
        os.kill(worker, signal.SIGKILL)
        output.close()


def test_a_file_system_without_locks_lets_every_process_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with sole_writer(folder) as lock:
        assert not lock.exclusive
