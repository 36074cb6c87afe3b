"""Write files atomically, read JSON, and compute checksums."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from cvkit.errors import DataError, OutputError, first_line, reason

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
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` if the context ends without an error."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".cvkit-", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_UMASK)  # mkstemp makes it private; results are not
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # read once at import: changing it for a moment is not safe beside other threads


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file atomically (temporary name, then rename).

    Text is written as UTF-8. Parts of file names that are not UTF-8 are written as escapes.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def write_json(path: Path, document: object) -> None:
    """Write an indented JSON document atomically."""
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV atomically; None becomes an empty cell, and floats keep their full precision."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        DataError: If the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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


def fingerprint(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the names, sizes and modification times of files, without reading them."""
    states = []
    for path in paths:
        with contextlib.suppress(OSError):  # a file that is gone changes the result by its absence
            status = path.stat()
            states.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n")
    return sha256_of("".join(states).encode("utf-8", "surrogateescape"))
