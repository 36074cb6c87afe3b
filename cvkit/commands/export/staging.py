"""Check and move an exported file and everything that belongs to it, from a staging folder to its destination."""

from pathlib import Path

from cvkit import files
from cvkit.errors import OutputError


def report_path(path: Path) -> Path:
    """Return the path of the report of an exported file."""
    return path.with_name(f"{path.name}.export.json")


def check_free(path: Path, overwrite: bool) -> None:
    """Check that a file, its parts and its report can be written.

    Raises:
        OutputError: If one of them exists and ``overwrite`` is False, or if it is a folder.
    """
    with files.writing(path):
        for each in (path, report_path(path), *_weight_files(path)):
            if each.is_dir():
                raise OutputError(f"{each} is a folder: name another file with --out.")
            if each.exists() and not overwrite:
                raise OutputError(f"{each} exists already: name another file with --out, or add --overwrite.")


def parts_of(path: Path) -> list[Path]:
    """Return the files that make up an exported file: itself, and its weights if they are in a file of their own."""
    return [path, *(each for each in _weight_files(path) if each.is_file())]


def size_of(parts: list[Path]) -> int:
    """Return the total size of files in bytes."""
    return sum(part.stat().st_size for part in parts)


def move(path: Path, folder: Path) -> None:
    """Move a file, its parts and its report into a folder, and remove the parts of a file of the same name.

    The file that refers to the others comes last, so that it never exists without them.
    """
    with files.writing(folder / path.name):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in _weight_files(folder / path.name):
            stale.unlink(missing_ok=True)
        for part in (report_path(path), *reversed(parts_of(path))):
            part.replace(folder / part.name)


def _weight_files(path: Path) -> list[Path]:
    """Return the paths at which an exported file may keep its weights."""
    if path.suffix == ".xml":
        return [path.with_suffix(".bin")]
    return [path.with_name(f"{path.name}.data")] if path.suffix == ".onnx" else []
