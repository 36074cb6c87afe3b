"""Lock files, which keep two processes from writing the same results at the same time."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cvkit.errors import OutputError
from cvkit.files import writing

WAIT_S = 5.0  # so that a job that was killed a moment ago does not stop the one that continues it
POLL_S = 0.1
HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class FileLock:
    """A lock that the system releases when its process ends. On a system without locks, every process gets it.

    Attributes:
        path: The lock file. It stays when the lock is released, and says which process held it last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: IO[str] | None = None

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
            stream = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                stream.close()
                return False
            # Else the file system has no locks.
        self._stream = stream
        return True

    def sign(self) -> None:
        """Write the name of this process into the lock file, for the messages of others."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # a full disk does not make the lock less valid
                self._stream.truncate(0)
                self._stream.write(f"process {os.getpid()} on {socket.gethostname()}")
                self._stream.flush()

    def owner(self) -> str:
        """Return the process that got the lock last, as ``process 12 on node7``."""
        with contextlib.suppress(OSError, UnicodeDecodeError), self.path.open(encoding="utf-8") as stream:
            return " ".join(stream.read(200).split()) or "another process"
        return "another process"

    def release(self) -> None:
        """Release the lock."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@contextmanager
def locked(path: Path) -> Iterator[FileLock]:
    """Let one process at a time into the context."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield lock
    finally:
        lock.release()


def wait_or_refuse(folder: Path, held: Sequence[Path], deadline: float) -> None:
    """Wait a moment for another process that writes a result folder, or raise OutputError after the deadline.

    Args:
        folder: The result folder.
        held: The lock files that other processes hold.
        deadline: Time of ``time.monotonic``.
    """
    if time.monotonic() < deadline:
        time.sleep(POLL_S)
        return
    raise OutputError(
        f"{folder} is being written by {FileLock(held[0]).owner()}: wait until it ends and run the same command again, "
        "or name another folder with --out."
    )
