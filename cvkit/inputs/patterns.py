"""Expand glob patterns, with ``**`` for any number of folders."""

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cvkit.inputs.folders import FoundPath, is_result_folder, search_folder

_ANY_FOLDERS = "**"


def expand_pattern(pattern: str) -> list[FoundPath]:
    """Return the paths that a glob pattern matches and that are no folders, in a stable order.

    ``relative`` of each path starts at the deepest folder that all of them share. ``**`` follows links to folders as
    ``search_folder`` does, and leaves out folders with results of cvkit. ``glob.glob`` would follow a link back to a
    folder that contains it 40 times.
    """
    parts = pattern.split("/")
    if _ANY_FOLDERS in parts:
        split = parts.index(_ANY_FOLDERS)
        found = list(_expand_recursive("/".join(parts[:split]) + "/" * bool(split), parts[split:]))
    else:
        matches = (Path(match) for match in glob.glob(pattern))  # noqa: PTH207 (absolute patterns too)
        found = [FoundPath(path, "") for path in matches if not os.path.isdir(path)]  # noqa: PTH112 (no exception)
    if not found:
        return []
    found.sort(key=lambda each: each.path)
    base = Path(os.path.commonpath([each.path.parent for each in found]))
    return [FoundPath(each.path, each.path.relative_to(base).as_posix(), each.is_folder) for each in found]


def _expand_recursive(head: str, rest: Sequence[str]) -> Iterator[FoundPath]:
    """Yield the paths that match ``rest`` inside the folders that match ``head``."""
    folders = [head or "."]
    if glob.has_magic(head):
        folders = [match for match in glob.glob(head) if not is_result_folder(match)]  # noqa: PTH207
    hidden = any(part.startswith(".") for part in rest)
    for folder in folders:
        if not os.path.isdir(folder):  # noqa: PTH112 (no exception)
            continue
        for found in search_folder(Path(folder), lambda _: True, hidden=hidden):
            if found.is_folder or _matches(found.relative.split("/"), rest):
                yield found


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path match those of a pattern.

    As in the shell, ``*`` and ``**`` match no names with a leading dot.
    """
    if not pattern:
        return not parts
    if pattern[0] == _ANY_FOLDERS:
        for skipped in range(len(parts) + 1):
            if _matches(parts[skipped:], pattern[1:]):
                return True
            if skipped < len(parts) and parts[skipped].startswith("."):
                return False
        return False
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    return fnmatchcase(os.path.normcase(parts[0]), os.path.normcase(pattern[0])) and _matches(parts[1:], pattern[1:])
