"""Lock a run folder, so that two processes cannot train into it."""

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvkit.errors import OutputError
from cvkit.files import writing
from cvkit.inputs import RESULT_MARK

NAME = "run.lock"
WAIT_SECONDS = 10.0  # a job that is started again waits this long for the process that it replaces
POLL_SECONDS = 0.1
_HOLDER = re.compile(r"([\w.-]{1,255}) (\d{1,10})\n")

_handles: set[int] = set()  # of the locks that this process holds


def _close_handles() -> None:
    """Close the lock files in a loading worker, which would otherwise keep the lock if this process is killed."""
    while _handles:
        os.close(_handles.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_handles)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a run folder inside the context.

    The lock is one of the operating system (flock): it ends with the process that holds it, however that ends. On NFS
    the server keeps it, so it also holds for other machines; if a machine fails, the server ends its locks after its
    lease (90 seconds by default; NFS 3 has none). File systems without locks (and Windows) let every process in.

    Args:
        folder: The folder, which has the mark of a result folder.

    Yields:
        Whether the lock is held; False where there are no locks.

    Raises:
        OutputError: If another process still holds the lock after ``WAIT_SECONDS``.
    """
    if os.name == "nt":
        yield False
        return
    path = folder / RESULT_MARK / NAME
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _handles.add(handle)
    try:
        yield _acquire(handle, folder)
    finally:
        if handle in _handles:  # not in a forked process, which has closed it
            _handles.remove(handle)
            os.close(handle)


def _acquire(handle: int, folder: Path) -> bool:
    import fcntl

    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise OutputError(_refusal(handle, folder)) from error
            time.sleep(POLL_SECONDS)
        except OSError:  # the file system has no locks
            return False
    with writing(folder / RESULT_MARK / NAME):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{platform.node() or 'unknown'} {os.getpid()}\n".encode(), 0)
    return True


def _refusal(handle: int, folder: Path) -> str:
    match = _HOLDER.fullmatch(os.pread(handle, 300, 0).decode("ascii", "replace"))
    holder = f"process {match[2]} on {match[1]}" if match else "another process"
    return (
        f"{folder} is in use by {holder}: wait until that ends, or name another folder. If there is no such process, "
        f"remove {folder / RESULT_MARK / NAME}."
    )
