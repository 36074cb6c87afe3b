"""Find the input files of a command in a stable order, and give each a name for its results."""

import errno
import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvkit.catalog import IMAGE_SUFFIXES
from cvkit.errors import DataError, UsageError
from cvkit.inputs.folders import FoundPath, is_image_name, search_folder
from cvkit.inputs.patterns import expand_pattern
from cvkit.inputs.stems import path_inside, unique_stems
from cvkit.messages import reason

_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Input:
    """One input file.

    Attributes:
        path: Path of the file.
        name: Its name in reports.
        stem: Path of its results inside the result folder, without suffix.
        is_folder: Whether the path is a folder that cannot be searched. Reading it fails with the reason.
    """

    path: Path
    name: str
    stem: str
    is_folder: bool = False


def find_inputs(patterns: Sequence[str], stdin: Iterable[str] | None = None) -> list[Input]:
    """Find the input files, each once, in a stable order.

    Paths that cannot be read (a broken link, a FIFO, a folder without permission) are among the inputs, so that each of
    them is reported as a failed input.

    Args:
        patterns: Files, folders (searched recursively), glob patterns, ``@list.txt``, or ``-`` for a list on standard
            input. Their order is kept, and the files of a folder or pattern are sorted.
        stdin: Lines to read in place of standard input.

    Raises:
        DataError: If a pattern matches no file.
    """
    matches: dict[Path, FoundPath] = {}
    for pattern in patterns:
        try:
            for found in _expand(pattern, stdin):
                matches.setdefault(found.path, found)
        except OSError as error:
            advice = "; give a long list as @list.txt" if error.errno == errno.ENAMETOOLONG else ""
            raise DataError(f"{pattern[:60]}: {reason(error)}{advice}.") from error
    stems = unique_stems([found.relative for found in matches.values()])
    return [
        Input(path=path, name=str(path), stem=stem, is_folder=found.is_folder)
        for (path, found), stem in zip(matches.items(), stems, strict=True)
    ]


def reads_stdin(patterns: Sequence[str]) -> bool:
    """Return whether the inputs are listed on standard input."""
    return "-" in patterns


def check_stdin_is_unshared(patterns: Sequence[str], processes: int) -> None:
    """Raise UsageError if several processes would read the inputs from standard input, which can be read once only."""
    if processes > 1 and reads_stdin(patterns):
        raise UsageError("'-' cannot be shared by several processes: write the list to a file and name it @list.txt.")


def _expand(pattern: str, stdin: Iterable[str] | None) -> Iterator[FoundPath]:
    """Yield each file that a pattern matches, with its path inside the result folder."""
    path = Path(pattern)
    if pattern == "-":
        yield from _listed(_read_stdin(stdin), "standard input")
    elif pattern.startswith("@"):
        try:
            content = Path(pattern[1:]).read_bytes()
        except (OSError, ValueError) as error:
            raise DataError(f"the list {pattern[1:]} cannot be read ({reason(error)}).") from error
        yield from _listed(content, f"the list {pattern[1:]}")
    elif path.is_dir():
        yield from _in_folder(path, pattern)
    elif os.path.lexists(path):  # a broken link is a failed input
        yield FoundPath(path, path.name)
    elif glob.has_magic(pattern):
        matches = expand_pattern(pattern)
        if not matches:
            raise DataError(f"the pattern {pattern} matches no file.")
        yield from matches
    else:
        raise DataError(f"no such file or folder: {pattern}.")


def _read_stdin(lines: Iterable[str] | None) -> bytes:
    if lines is not None:
        return os.fsencode("\n".join(line.rstrip("\r\n") for line in lines))
    if sys.stdin is None:
        raise UsageError("'-' reads a list from standard input, which is closed: pipe one, or name it @list.txt.")
    return sys.stdin.buffer.read()


def _listed(content: bytes, source: str) -> Iterator[FoundPath]:
    names = _parse_list(content, source)
    if not names:
        raise DataError(f"{source} lists no files.")
    for name in names:
        path = Path(os.fsdecode(name))
        yield FoundPath(path, path_inside(path))


def _parse_list(content: bytes, source: str) -> list[bytes]:
    """Return the names of a list: one per line, or as they are if each ends with NUL, as ``find -print0`` writes them.

    A name may hold any bytes: file names are not always UTF-8.
    """
    if content.startswith(_UTF16_MARKS):
        raise DataError(f"{source} cannot be read (it is UTF-16 text): save it as UTF-8.")
    content = content.removeprefix(_UTF8_MARK)
    if content.endswith(b"\0"):
        return [name for name in content.split(b"\0") if name]
    if b"\0" in content:
        raise DataError(f"{source} cannot be read (it holds NUL bytes): write one name per line, or end each with NUL.")
    lines = (line.removesuffix(b"\r").strip(b" \t") for line in content.split(b"\n"))
    return [line for line in lines if line and not line.startswith(b"#")]


def _in_folder(folder: Path, name: str) -> Iterator[FoundPath]:
    images = list(search_folder(folder, is_image_name))
    if not images:
        raise DataError(f"no images in the folder {name} (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
    yield from images
