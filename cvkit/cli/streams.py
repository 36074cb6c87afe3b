"""Keep a command running when its standard streams are closed, broken or full."""

import errno
import io
import os
import select
import sys
from typing import Any


class GuardedFile(io.FileIO):
    """A file descriptor of the process that records the first failed write instead of raising it.

    A closed pipe is not a failure: its reader wanted no more.

    Attributes:
        failure: The first error of a write, or None.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes, or drop them if the descriptor takes none; return the number of bytes."""
        try:
            while (written := super().write(data)) is None:  # the descriptor does not block, and is busy
                select.select([], [self], [])
        except OSError as error:
            if error.errno != errno.EPIPE and self.failure is None:
                self.failure = error
            return len(data)
        return written


def guard_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams whose writes never fail.

    A descriptor that is closed is opened on the null device. Otherwise the next file that is opened would get its
    number, and messages of libraries would be written into that file.
    """
    for number in range(3):
        if (sys.stdin, sys.stdout, sys.stderr)[number] is None and not _is_open(number):
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _guarded(sys.stdout, 1), _guarded(sys.stderr, 2)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _guarded(stream: Any, number: int) -> Any:
    """Return a guarded stream in place of the standard one; leave streams alone that are no file of this process."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(GuardedFile(os.devnull, "w")), encoding="utf-8", errors="replace")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="backslashreplace")  # for file names and bars that the terminal cannot show
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO or raw.fileno() != number:
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(GuardedFile(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def flush_streams() -> OSError | None:
    """Write what is buffered for stdout and stderr; return the first failure of stdout."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, GuardedFile) else None
