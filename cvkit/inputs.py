"""Find the input files of a command in a stable order, and give each a name for its results."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvkit.errors import DataError, UsageError, reason

RESULT_MARK = ".cvkit"  # name of the folder that marks its parent as a result folder
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
)


@dataclass(frozen=True)
class Input:
    """One input file.

    Attributes:
        path: Path of the file.
        name: Its name in reports.
        stem: Path of its results inside the result folder, without suffix.
    """

    path: Path
    name: str
    stem: str


def is_image(path: Path) -> bool:
    """Return whether a file may be an image, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def find_inputs(patterns: Sequence[str], stdin: Iterable[str] | None = None) -> list[Input]:
    """Find the input files, each once, in a stable order.

    Args:
        patterns: Files, folders (searched recursively), glob patterns, ``@list.txt``, or ``-`` for a list on standard
            input. Their order is kept, and the files of a folder or pattern are sorted.
        stdin: Lines to read in place of standard input.

    Raises:
        DataError: If a pattern matches no file.
    """
    matches: dict[Path, str] = {}
    for pattern in patterns:
        try:
            for path, mirrored in _expand(pattern, stdin):
                matches.setdefault(path, mirrored)
        except OSError as error:
            raise DataError(f"{pattern[:60]}: {reason(error)}; give a long list as @list.txt.") from error
    return _with_stems(matches)


def reads_stdin(patterns: Sequence[str]) -> bool:
    """Return whether the inputs are listed on standard input."""
    return "-" in patterns


def check_stdin_is_unshared(patterns: Sequence[str], processes: int) -> None:
    """Raise UsageError if several processes would read the inputs from standard input, which can be read once only."""
    if processes > 1 and reads_stdin(patterns):
        raise UsageError("'-' cannot be shared by several processes: write the list to a file and name it @list.txt.")


def _expand(pattern: str, stdin: Iterable[str] | None) -> Iterator[tuple[Path, str]]:
    """Yield (path, path inside the result folder) for each file that a pattern matches."""
    path = Path(pattern)
    if pattern == "-":
        if stdin is None and sys.stdin is None:
            raise UsageError("'-' reads a list from standard input, which is closed: pipe one, or name it @list.txt.")
        yield from _listed(stdin if stdin is not None else sys.stdin, "standard input")
    elif pattern.startswith("@"):
        try:
            lines = Path(pattern[1:]).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the list {pattern[1:]} cannot be read ({reason(error)}).") from error
        yield from _listed(lines, pattern[1:])
    elif path.is_dir():
        yield from _in_folder(path, pattern)
    elif path.exists():
        yield path, path.name
    elif glob.has_magic(pattern):
        yield from _matching(pattern)
    else:
        raise DataError(f"no such file or folder: {pattern}.")


def _listed(lines: Iterable[str], source: str) -> Iterator[tuple[Path, str]]:
    names = [line.strip() for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise DataError(f"{source} lists no files.")
    for name in names:
        path = Path(name)
        # A listed path is mirrored as it is written, without the parts that lead out of the result folder.
        parts = [part for part in path.parts if part not in ("..", ".", path.anchor)]
        yield path, "/".join(parts) or "input"


def _in_folder(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    images = sorted(p for p in folder.rglob("*") if is_image(p) and not _hidden(p.relative_to(folder)) and p.is_file())
    images = _without_results(images, folder)
    if not images:
        raise DataError(f"no images in the folder {name} (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
    for image in images:
        yield image, image.relative_to(folder).as_posix()


def _matching(pattern: str) -> Iterator[tuple[Path, str]]:
    matches = sorted(Path(p) for p in glob.glob(pattern, recursive=True))  # noqa: PTH207 (absolute patterns too)
    paths = [p for p in matches if p.is_file()]
    if "**" in pattern:
        paths = _without_results(paths, Path(os.path.dirname(pattern.partition("**")[0])))  # noqa: PTH120
    if not paths:
        raise DataError(f"the pattern {pattern} matches no file.")
    base = Path(os.path.commonpath([p.parent for p in paths]))
    for path in paths:
        yield path, path.relative_to(base).as_posix()


def _without_results(paths: list[Path], base: Path) -> list[Path]:
    """Leave out files in result folders below ``base``, so that a second run does not read the results of the first."""
    inside: dict[Path, bool] = {base: False}

    def is_result(folder: Path) -> bool:
        if folder not in inside:
            inside[folder] = (folder / RESULT_MARK).is_dir() or (folder != folder.parent and is_result(folder.parent))
        return inside[folder]

    return [path for path in paths if not is_result(path.parent)]


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _with_stems(matches: Mapping[Path, str]) -> list[Input]:
    """Give every input its own stem: the file's stem if no other has it, else the whole name, else a number."""
    stems = Counter(str(Path(name).with_suffix("")).lower() for name in matches.values())
    used: set[str] = set()
    inputs = []
    for path, name in matches.items():
        stem = Path(name).with_suffix("").as_posix()
        preferred = stem if stems[str(Path(name).with_suffix("")).lower()] == 1 else name
        unique, number = preferred, 2
        while unique.lower() in used:
            unique, number = f"{preferred}-{number}", number + 1
        used.add(unique.lower())
        inputs.append(Input(path=path, name=str(path), stem=unique))
    return inputs
