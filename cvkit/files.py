"""Write files atomically, read JSON, and compute checksums."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import secrets
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from cvkit.errors import DataError, OutputError
from cvkit.messages import first_line, reason
from cvkit.temporary import remove_abandoned_folders, temporary_prefix

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no quota error


def is_folder(name: str) -> bool:
    """Return whether a name is that of a folder; a name too long for a file system is not."""
    try:
        return Path(name).is_dir()
    except OSError:
        return False


def is_file(name: str) -> bool:
    """Return whether a name is that of a file; a name too long for a file system is not."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write inside the context into an error that names the file and says what to do.

    Raises:
        OutputError: If there is no space or no permission.
        DataError: If the name is too long, which concerns this file alone.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{path}: its name is too long for this file system.") from error
        if error.errno in _NO_SPACE:
            raise OutputError(f"no space left to write {path}: free some, then run the same command again.") from error
        raise OutputError(f"cannot write {path} ({reason(error)}).") from error


@contextmanager
def atomic_path(path: Path, *, durable: bool = True, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` if the context ends without an error.

    Args:
        path: The file to write.
        durable: Whether to flush the file to the disk before it is renamed, and the folder afterwards. Without this, a
            file can be empty after a power failure, although it has its final name.
        keep: The name for the file that is replaced; None removes it. It is renamed after the new file is complete, so
            that one of the two names exists at every moment.
    """
    with writing(path):
        temporary = _create_temporary(path.parent)
        try:
            yield temporary
            if durable:
                _flush(temporary)
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            _flush_folder(path.parent)


def _create_temporary(folder: Path) -> Path:
    """Create an empty temporary file in a folder, which is created if it is missing.

    ``tempfile.mkstemp`` takes more time, and its files are private, which results are not.
    """
    while True:
        path = folder / f"{temporary_prefix()}{secrets.token_hex(4)}.tmp"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return path
        except FileExistsError:
            continue  # another thread has chosen the same name
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def staging_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder on the file system of ``path``, where a move is a rename, and remove it afterwards.

    The folders that killed processes left in the same place are removed as well.
    """
    near = next(folder for folder in path.absolute().parents if folder.is_dir())
    remove_abandoned_folders(near)
    with writing(path):
        temporary = tempfile.TemporaryDirectory(dir=near, prefix=temporary_prefix(), suffix=".tmp")
    with temporary as folder:
        yield Path(folder)


def _flush(path: Path) -> None:
    """Flush a file to the disk. Network file systems report a full disk only here."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, where the system can do so."""
    with contextlib.suppress(OSError):  # Windows and some network file systems cannot
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomic(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write a file atomically (temporary name, then rename).

    Text is written as UTF-8. Parts of file names that are not UTF-8 are written as escapes.

    Args:
        path: The file.
        content: Its content.
        durable: As in ``atomic_path``. It is off by default, because results of single inputs are many and small. The
            record of a result folder has their sizes, so that a file that a power failure emptied is written again.
    """
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def write_json(path: Path, document: object) -> None:
    """Write an indented JSON document atomically."""
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n", durable=True)


class _Lines:
    """A text file that ends lines with LF.

    ``csv.writer`` quotes a cell with CR only if CR is part of its line end, so it must write CR and LF.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        """Write one row."""
        return self._stream.write(line.removesuffix("\r\n") + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV atomically; None becomes an empty cell, and floats keep their full precision.

    Text is written as it is, so that the names in a table are those of the files.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(_Lines(stream), columns, lineterminator="\r\n", restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        DataError: If the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a number of too many digits, or thousands of brackets
        raise DataError(f"{path} cannot be read as JSON ({reason(error)}).") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        OutputError: If the path is a file, or the folder cannot be created.
    """
    with writing(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file, where a folder is needed: give another name.")
        path.mkdir(parents=True, exist_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits. A file that has not changed is read once only."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    del size, changed  # part of the cache key, so that a changed file is read again
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of(content: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def damaged_member(path: Path) -> str | None:
    """Return the name of the first member of a ZIP archive whose content does not match its CRC-32, or None.

    PyTorch's checkpoints are ZIP archives, but its reader does not compare checksums. A file that is not a ZIP archive
    has no members.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        return first_line(error)


def compressed_member(path: Path) -> str | None:
    """Return the name of the first compressed member of a ZIP archive, or None.

    PyTorch stores all members of its archives without compression, but reads compressed ones.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile:
        return None  # ``damaged_member`` reports it
    return next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)


def fingerprint(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the names, sizes and modification times of files, without reading them."""
    states = []
    for path in paths:
        with contextlib.suppress(OSError):  # a file that is gone changes the result by its absence
            status = path.stat()
            states.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n")
    return sha256_of("".join(states).encode("utf-8", "surrogateescape"))
