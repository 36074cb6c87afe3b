"""Search a folder and the folders below it in a stable order."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvkit.catalog import IMAGE_SUFFIXES
from cvkit.errors import DataError
from cvkit.messages import reason

RESULT_MARK = ".cvkit"  # name of the folder that marks its parent as a result folder

_Identity = tuple[int, int]  # device and inode number


@dataclass(frozen=True)
class FoundPath:
    """A path inside a folder that was searched.

    Attributes:
        path: The path.
        relative: The path inside the folder, with forward slashes.
        is_folder: Whether the path is a folder that cannot be searched. Reading it fails with the reason.
    """

    path: Path
    relative: str
    is_folder: bool = False


@dataclass
class _OpenFolder:
    """A folder on the way from the searched folder to the current one, with its entries that are left."""

    identity: _Identity
    relative: str
    entries: Iterator[os.DirEntry[str]]

    def found(self, entry: os.DirEntry[str], root: Path, *, is_folder: bool = False) -> FoundPath:
        """Return an entry of this folder, with its path inside the searched folder ``root``."""
        relative = f"{self.relative}{entry.name}"
        return FoundPath(root / relative, relative, is_folder)


def is_image_name(name: str) -> bool:
    """Return whether a file may be an image, by its suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (100,000 names)


def search_folder(
    folder: Path, accepts: Callable[[str], bool], *, hidden: bool = False, results: bool = False
) -> Iterator[FoundPath]:
    """Yield the files below a folder, sorted by the parts of their path.

    Links to folders are followed, as in ``find -L``. Nothing with an accepted name is left out silently: a broken link,
    a FIFO and other paths that are no files are yielded too, because reading them fails with the reason. So are folders
    that cannot be searched: one that cannot be opened, a link back to a folder that contains it, and a broken link
    without a suffix.

    Args:
        folder: The folder.
        accepts: Returns whether to yield a file, by its name.
        hidden: Whether to search files and folders whose name begins with a dot.
        results: Whether to search folders with results of cvkit. ``folder`` itself is always searched.

    Raises:
        DataError: The folder itself cannot be searched.
    """
    try:
        stack = [_open_folder(str(folder), "")]
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be searched ({reason(error)}).") from error
    while stack:
        current = stack[-1]
        entry = next(current.entries, None)
        if entry is None:
            stack.pop()
        elif entry.name.startswith(".") and (not hidden or entry.name == RESULT_MARK):
            continue
        elif _is_folder(entry):
            inner = _open_inner(entry, stack)
            if inner is None:
                yield current.found(entry, folder, is_folder=True)
            elif results or not is_result_folder(entry.path):
                stack.append(inner)
        elif accepts(entry.name):
            yield current.found(entry, folder)
        elif _may_be_lost_folder(entry):
            yield current.found(entry, folder, is_folder=True)


def _open_folder(path: str, relative: str) -> _OpenFolder:
    status = os.stat(path)  # noqa: PTH116 (100,000 folders)
    with os.scandir(path) as entries:
        return _OpenFolder((status.st_dev, status.st_ino), relative, iter(sorted(entries, key=lambda each: each.name)))


def _open_inner(entry: os.DirEntry[str], outer: Sequence[_OpenFolder]) -> _OpenFolder | None:
    """Open a folder; None if it cannot be opened, or if it is one of the folders that contain it."""
    try:
        inner = _open_folder(entry.path, f"{outer[-1].relative}{entry.name}/")
    except OSError:
        return None
    return None if inner.identity in (each.identity for each in outer) else inner


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _may_be_lost_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a broken link without a suffix, such as a link to a disk that is not mounted."""
    return entry.is_symlink() and not os.path.splitext(entry.name)[1] and not os.path.exists(entry.path)  # noqa: PTH110, PTH122


def is_result_folder(path: str) -> bool:
    """Return whether a folder holds results of cvkit."""
    try:
        return stat.S_ISDIR(os.stat(os.path.join(path, RESULT_MARK)).st_mode)  # noqa: PTH116, PTH118
    except OSError:
        return False
