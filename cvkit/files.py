"""Which files go in, and how files come out: found in a stable order, written whole or not at all."""

import contextlib
import csv
import errno
import glob
import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cvkit.errors import DataError, OutputError, UsageError

MARK = ".cvkit"  # the folder inside a folder of results
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
)


@dataclass(frozen=True)
class Input:
    """One input: where it is, how reports name it, and the name of its results inside the result folder."""

    path: Path
    name: str
    stem: str


def is_folder(name: str) -> bool:
    """Tell whether a name is that of a folder; a name too long for a file system is not."""
    try:
        return Path(name).is_dir()
    except OSError:
        return False


def is_file(name: str) -> bool:
    """Tell whether a name is that of a file; a name too long for a file system is not."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


def is_image(path: Path) -> bool:
    """Tell by its suffix whether a file may be an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def find_inputs(words: Sequence[str], stdin: Iterable[str] | None = None) -> list[Input]:
    """Turn files, folders, globs, ``@list.txt`` and ``-`` into one list without repeats, in one stable order.

    Words keep their order; a folder is searched through and sorted. Raises DataError where a word finds nothing.
    """
    found: dict[Path, str] = {}
    for word in words:
        try:
            for path, mirrored in _expand(word, stdin):
                found.setdefault(path, mirrored)
        except OSError as error:
            raise DataError(f"{word[:60]}: {_reason(error)}; give a long list as @list.txt.") from error
    return _with_stems(found)


def _expand(word: str, stdin: Iterable[str] | None) -> Iterator[tuple[Path, str]]:
    """Yield (path, name inside the result folder) for each file that one word of the command line means."""
    if word == "-":
        yield from _listed(stdin if stdin is not None else sys.stdin, "standard input")
        return
    if word.startswith("@"):
        try:
            lines = Path(word[1:]).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the list {word[1:]} cannot be read ({_reason(error)}).") from error
        yield from _listed(lines, word[1:])
        return
    path = Path(word)
    if path.is_dir():
        images = sorted(p for p in path.rglob("*") if is_image(p) and not _hidden(p.relative_to(path)) and p.is_file())
        images = _without_results(images, path)
        if not images:
            raise DataError(f"no images in the folder {word} (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
        for image in images:
            yield image, image.relative_to(path).as_posix()
    elif path.exists():
        yield path, path.name
    elif glob.has_magic(word):
        matches = sorted(Path(p) for p in glob.glob(word, recursive=True))  # noqa: PTH207 (absolute patterns too)
        files = [p for p in matches if p.is_file()]
        if "**" in word:
            files = _without_results(files, Path(os.path.dirname(word.partition("**")[0])))  # noqa: PTH120
        if not files:
            raise DataError(f"the pattern {word} matches no file.")
        base = Path(os.path.commonpath([p.parent for p in files]))
        for file in files:
            yield file, file.relative_to(base).as_posix()
    else:
        raise DataError(f"no such file or folder: {word}.")


def _listed(lines: Iterable[str], where: str) -> Iterator[tuple[Path, str]]:
    names = [line.strip() for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise DataError(f"{where} lists no files.")
    for name in names:
        path = Path(name)
        # A listed path is mirrored as it was written, without what leads out of the result folder.
        parts = [part for part in path.parts if part not in ("..", ".", path.anchor)]
        yield path, "/".join(parts) or "input"


def _without_results(files: list[Path], base: Path) -> list[Path]:
    """Leave out what lies in a result folder below ``base``, so that a command run again does not take its own maps."""
    inside: dict[Path, bool] = {base: False}

    def is_result(folder: Path) -> bool:
        if folder not in inside:
            inside[folder] = (folder / MARK).is_dir() or (folder != folder.parent and is_result(folder.parent))
        return inside[folder]

    return [file for file in files if not is_result(file.parent)]


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _with_stems(found: Mapping[Path, str]) -> list[Input]:
    """Give every input a result name of its own: the stem where it is free, else the whole name, else a number."""
    stems = Counter(str(Path(name).with_suffix("")).lower() for name in found.values())
    taken: set[str] = set()
    inputs = []
    for path, name in found.items():
        stem = Path(name).with_suffix("").as_posix()
        wanted = stem if stems[str(Path(name).with_suffix("")).lower()] == 1 else name
        unique, number = wanted, 2
        while unique.lower() in taken:
            unique, number = f"{wanted}-{number}", number + 1
        taken.add(unique.lower())
        inputs.append(Input(path=path, name=str(path), stem=unique))
    return inputs


_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows knows no quota


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into an OutputError that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the fault of one input, and not of the folder
            raise DataError(f"{path}: its name is too long for this file system.") from error
        if error.errno in _NO_SPACE:
            raise OutputError(f"no space left to write {path}: free some, then run the same command again.") from error
        raise OutputError(f"cannot write {path} ({_reason(error)}).") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; what is written there takes its name when the block ends well."""
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


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that it appears whole or not at all (temporary name, then rename).

    Text is UTF-8; what of a file name is no UTF-8 is written as an escape.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # read once at import: changing it for a moment is not safe beside other threads


def make_folder(path: Path) -> None:
    """Make a folder and its parents."""
    with writing(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file, where a folder is needed: give another name.")
        path.mkdir(parents=True, exist_ok=True)


def mark_as_result(folder: Path) -> None:
    """Make a folder known as one of results, whose pictures are no inputs of another run."""
    make_folder(folder / MARK)


def holds_something(folder: Path) -> bool:
    """Tell whether anything is in a folder, but for the mark of one of results."""
    return any(path.name != MARK for path in folder.iterdir())


def write_json(path: Path, document: object) -> None:
    """Write a JSON document, indented, whole or not at all."""
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV; None becomes an empty cell and floats keep their full precision."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path: Path) -> Any:
    """Read a JSON document; raises DataError where it is not one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON ({_reason(error)}).") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits; a file that has not changed is read once only."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    del size, changed  # what tells one state of a file from another
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of(content: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def fingerprint(paths: Iterable[Path]) -> str:
    """Return what tells one state of many files from another: the SHA-256 of their names, sizes and times of change."""
    states = []
    for path in paths:
        with contextlib.suppress(OSError):  # a file that is gone is told by its absence
            status = path.stat()
            states.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n")
    return sha256_of("".join(states).encode("utf-8", "surrogateescape"))


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def reading_list_from_stdin(words: Sequence[str]) -> bool:
    """Tell whether the inputs come from standard input."""
    return "-" in words


def refuse_stdin_in_many_processes(words: Sequence[str], processes: int) -> None:
    """A list on stdin can be read once only: refuse it when several processes would read it."""
    if processes > 1 and reading_list_from_stdin(words):
        raise UsageError("'-' cannot be shared by several processes: write the list to a file and name it @list.txt.")
