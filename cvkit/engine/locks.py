"""Lock files, which keep two processes from writing the same results at the same time."""

import contextlib
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cvkit.errors import OutputError
from cvkit.files import make_folder, writing
from cvkit.inputs import RESULT_MARK

WAIT_S = 10.0  # a job that is started again waits this long for the process that it replaces
POLL_S = 0.1
WRITER = "writer.lock"

_handles: set[int] = set()  # of the locks that this process holds


def _close_handles() -> None:
    """Close the lock files in a loading worker, which would otherwise keep the locks if this process is killed."""
    while _handles:
        os.close(_handles.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_handles)


class FileLock:
    """A lock of the operating system (flock), which ends with the process that holds it, however that ends.

    On NFS the server keeps the lock, so it also holds for other machines; if a machine fails, the server ends its locks
    after its lease (90 seconds by default; NFS 3 has none). On Windows and on file systems without locks, every process
    gets the lock.

    Attributes:
        path: The lock file. It stays when the lock is released, and names the process that held it last.
        exclusive: Whether the system keeps other processes from getting the lock that this object has.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exclusive = False
        self._handle: int | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Try to get the lock, and return whether this process has it.

        Args:
            wait: Whether to wait until another process releases it.

        Raises:
            OutputError: If the lock file cannot be written.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            return True
        with writing(self.path):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.exclusive = True
        except (BlockingIOError, PermissionError):
            os.close(handle)
            return False
        except OSError:  # the file system has no locks
            self.exclusive = False
        self._handle = handle
        _handles.add(handle)
        return True

    def sign(self) -> None:
        """Write the name of this process into the lock file, for the messages of others."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # a full disk does not make the lock less valid
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, f"process {os.getpid()} on {platform.node() or 'unknown'}\n".encode(), 0)

    def owner(self) -> str:
        """Return the process that got the lock last, as ``process 12 on node7``."""
        with contextlib.suppress(OSError, UnicodeDecodeError), self.path.open(encoding="utf-8") as stream:
            return " ".join(stream.read(200).split()) or "another process"
        return "another process"

    def release(self) -> None:
        """Release the lock."""
        if self._handle is not None and self._handle in _handles:  # not in a forked process, which has closed it
            _handles.remove(self._handle)
            os.close(self._handle)
        self._handle, self.exclusive = None, False


@contextmanager
def locked(path: Path) -> Iterator[FileLock]:
    """Let one process at a time into the context."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def sole_writer(folder: Path) -> Iterator[FileLock]:
    """Keep other processes from writing an output folder inside the context.

    Args:
        folder: The folder, which gets the mark of a result folder.

    Raises:
        OutputError: If another process that writes the folder does not finish within ``WAIT_S`` seconds.
    """
    make_folder(folder / RESULT_MARK)
    lock = FileLock(folder / RESULT_MARK / WRITER)
    deadline = time.monotonic() + WAIT_S
    while not lock.acquire():
        wait_or_refuse(folder, [lock.path], deadline)
    lock.sign()
    try:
        yield lock
    finally:
        lock.release()


def wait_or_refuse(folder: Path, held: Sequence[Path], deadline: float) -> None:
    """Wait a moment for another process that writes a folder, or raise OutputError after the deadline.

    Args:
        folder: The folder.
        held: The lock files that other processes hold.
        deadline: Time of ``time.monotonic``.
    """
    if time.monotonic() < deadline:
        time.sleep(POLL_S)
        return
    raise OutputError(
        f"{folder} is being written by {FileLock(held[0]).owner()}: wait until it ends and run the same command again, "
        f"or name another folder with --out. If there is no such process, remove {held[0]}."
    )
