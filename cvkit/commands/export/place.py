"""Where an exported file is made, and how it gets its name with all that belongs to it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvkit import files
from cvkit.errors import OutputError


def report_of(path: Path) -> Path:
    """Return where the report of an exported file stands."""
    return path.with_name(f"{path.name}.export.json")


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError where a file of this name is there, or one that would belong to it."""
    with files.writing(path):
        for there in (path, report_of(path), *_beside(path)):
            if there.is_dir():
                raise OutputError(f"{there} is a folder: name another --out.")
            if there.exists() and not overwrite:
                raise OutputError(f"{there} is there already: name another --out, or add --overwrite.")


@contextmanager
def workshop(path: Path) -> Iterator[Path]:
    """Yield a folder near ``path``, so that a move is a rename; it is gone with all in it when the block ends."""
    near = next(folder for folder in path.absolute().parents if folder.is_dir())
    with files.writing(path):
        shop = tempfile.TemporaryDirectory(dir=near, prefix=".cvkit-")
    with shop as folder:
        yield Path(folder)


def parts_of(path: Path) -> list[Path]:
    """Return the files that make up an exported one: itself, and its weights where they stand beside it."""
    return [path, *(each for each in _beside(path) if each.is_file())]


def size_of(parts: list[Path]) -> int:
    """Return the bytes that files take together."""
    return sum(part.stat().st_size for part in parts)


def move(path: Path, folder: Path) -> None:
    """Give a file, its parts and its report their place in a folder, which is made where it is not there.

    The one that names the others comes last: it is never there without them. Parts of a file that was there before are
    gone.
    """
    with files.writing(folder / path.name):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in _beside(folder / path.name):
            stale.unlink(missing_ok=True)
        for part in (report_of(path), *reversed(parts_of(path))):
            part.replace(folder / part.name)


def _beside(path: Path) -> list[Path]:
    if path.suffix == ".xml":
        return [path.with_suffix(".bin")]
    return [path.with_name(f"{path.name}.data")] if path.suffix == ".onnx" else []
