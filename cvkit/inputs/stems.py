"""Name the results of inputs, so that every file stays inside the result folder and no two inputs share one."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cvkit.inputs.folders import RESULT_MARK

# A folder of results must not have the name of a file that a command writes: results.csv, or photo.png of photo.jpg.
_OUTPUT_SUFFIXES = frozenset({".png", ".jpg", ".npy", ".csv", ".json", ".parquet"})

# File systems allow 255 bytes per name. The rest is for what a command appends, such as ".class1000.overlay.jpg".
MAX_STEM_BYTES = 220
_HASH_DIGITS = 8


def without_suffix(name: str) -> str:
    """Return a path with forward slashes without the suffix of its file.

    ``Path.with_suffix`` raises an error for names such as ``..png``, and its results differ between Python versions.
    """
    folder, slash, file = name.rpartition("/")
    stem, suffix = os.path.splitext(file)  # noqa: PTH122
    return folder + slash + (file if suffix == "." else stem)


def path_inside(path: Path) -> str:
    """Return a listed path as it is mirrored in the result folder, without the parts that lead out of it."""
    return "/".join(part for part in path.parts if part not in ("..", ".", path.anchor)) or "input"


def unique_stems(names: Sequence[str]) -> list[str]:
    """Give every input the path of its results in the result folder, without suffix.

    Args:
        names: Paths inside the result folder, one per input.

    Returns:
        The file's stem if no other file of its folder has it, else the whole name, else a number behind it. A stem that
        is too long for its outputs is shortened, see ``shorten``.
    """
    names = [_writable(name) for name in names]
    counts = Counter(without_suffix(name).lower() for name in names)
    used: set[str] = set()
    stems = []
    for name in names:
        stem = without_suffix(name)
        preferred = stem if counts[stem.lower()] == 1 else name
        preferred = shorten(preferred)
        unique, number = preferred, 2
        while unique.lower() in used:
            unique, number = f"{preferred}-{number}", number + 1
        used.add(unique.lower())
        stems.append(unique)
    return stems


def shorten(stem: str) -> str:
    """Shorten the last part of a path to ``MAX_STEM_BYTES``, so that suffixes can be appended to it.

    The shortened name ends with a hash of the whole one, so different names stay different.
    """
    folder, slash, name = stem.rpartition("/")
    content = name.encode("utf-8", "surrogateescape")
    if len(content) <= MAX_STEM_BYTES:
        return stem
    kept = content[: MAX_STEM_BYTES - _HASH_DIGITS - 1].decode("utf-8", "ignore")
    return f"{folder}{slash}{kept}-{hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]}"


def _writable(name: str) -> str:
    """Change the names of folders that would collide with files of the result folder, or with its records."""
    *folders, file = name.split("/")
    return "/".join((*(f"{part}_" if _collides(part) else part for part in folders), file))


def _collides(folder: str) -> bool:
    return folder.lower() == RESULT_MARK or os.path.splitext(folder)[1].lower() in _OUTPUT_SUFFIXES  # noqa: PTH122


def folders_of(stems: Iterable[str]) -> set[str]:
    """Return all folders that stems need inside the result folder, with the folders that contain them."""
    folders: set[str] = set()
    for stem in stems:
        folder = stem.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders
