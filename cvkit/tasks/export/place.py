"""Where an exported file is made, and how it gets its name with all that belongs to it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvkit import files
from cvkit.errors import OutputError


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError where a file of this name is there, or one that would belong to it."""
    for there in (path, *_beside(path)):
        if there.exists() and not overwrite:
            raise OutputError(f"{there} is there already: name another --out, or add --overwrite.")


@contextmanager
def workshop(path: Path) -> Iterator[Path]:
    """Yield a folder beside ``path``, so that a move is a rename; it is gone with all in it when the block ends."""
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cvkit-") as folder:
            yield Path(folder)


def parts_of(path: Path) -> list[Path]:
    """Return the files that make up an exported one: itself, and its weights where they stand beside it."""
    return [path, *(each for each in _beside(path) if each.is_file())]


def size_of(parts: list[Path]) -> int:
    """Return the bytes that files take together."""
    return sum(part.stat().st_size for part in parts)


def move(path: Path, folder: Path) -> list[Path]:
    """Give a file and its parts their place; the one that names the others comes last, never there without them."""
    parts = parts_of(path)
    for part in reversed(parts):
        part.replace(folder / part.name)
    return [folder / part.name for part in parts]


def _beside(path: Path) -> list[Path]:
    if path.suffix == ".xml":
        return [path.with_suffix(".bin")]
    return [path.with_name(f"{path.name}.data")] if path.suffix == ".onnx" else []
