"""Open input files without waiting for other programs, and name the reason if a path cannot be read."""

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, TextIO

from cvkit.errors import DataError
from cvkit.messages import reason

_NOT_FILES = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # Windows has no FIFO


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: The file, or a link to it. Reading a FIFO, a socket or a device may wait for ever, so they are refused.

    Raises:
        DataError: The path is missing, is no regular file, or cannot be opened; the message names the reason.
    """
    try:
        _check_kind(path, path.stat().st_mode)
        stream = open(str(path), "rb", opener=_open_without_waiting)  # noqa: SIM115 (the caller closes it)
        try:
            _check_kind(path, os.fstat(stream.fileno()).st_mode)
        except BaseException:
            stream.close()
            raise
        return stream
    except FileNotFoundError as error:
        if path.is_symlink():
            raise DataError(f"{path}: is a broken link to {path.readlink()}.") from error
        raise DataError(f"{path}: no such file.") from error
    except (OSError, ValueError) as error:  # ValueError: the name has a NUL character
        raise DataError(f"{path}: cannot be read ({reason(error)}).") from error


def open_text(path: Path, errors: str = "strict") -> TextIO:
    """Open a regular file as UTF-8 text with its own line ends, as CSV files need.

    Args:
        path: The file.
        errors: How to decode bytes that are not UTF-8, as in ``open``. ``"surrogateescape"`` keeps them, because file
            names may have any bytes.

    Raises:
        DataError: The path is missing, is no regular file, or cannot be opened; the message names the reason.
    """
    return io.TextIOWrapper(open_file(path), encoding="utf-8-sig", errors=errors, newline="")


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a FIFO that took its place after it was checked does not block."""
    return os.open(path, flags | _NO_WAITING)


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: {_describe_folder(path)}")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: is {_NOT_FILES.get(stat.S_IFMT(mode), 'something else')}, not a file.")


def _describe_folder(path: Path) -> str:
    """Return the reason why a search for files could have yielded a folder."""
    try:
        with os.scandir(path):
            pass
    except OSError as error:
        return f"the folder cannot be searched ({reason(error)})."
    if path.is_symlink() and path.resolve() in path.parent.resolve().joinpath("x").parents:
        return "is a link to a folder that contains it, which is not searched again."
    return "is a folder, not an image."
