"""Find the images, maps and fixations of a saliency data set, and pair them by split and stem."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cvkit.catalog import IMAGE_SUFFIXES
from cvkit.data.splits import UNSPLIT, canonical_split, is_standard_split, order_splits
from cvkit.errors import DataError
from cvkit.files import is_file, is_folder
from cvkit.inputs import open_text, search_folder, without_suffix
from cvkit.messages import reason
from cvkit.tasks.saliency.data.fixations import FIXATION_SUFFIXES

IMAGE_FOLDERS = ("images", "stimuli")
MAP_FOLDERS = ("maps", "fixation_maps", "saliency", "density")
FIXATION_FOLDERS = ("fixations", "fixation_locations", "fixlocs")
MAP_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Example:
    """One image with its ground truth: a map, fixations, or both.

    Attributes:
        key: Path of the image inside its folder, without suffix.
        split: Name of the split as ``canonical_split`` gives it, or ``UNSPLIT``.
        image: Path of the image.
        map: Path of the saliency map.
        fixations: Path of the fixations.
    """

    key: str
    split: str
    image: Path
    map: Path | None = None
    fixations: Path | None = None


@dataclass
class Layout:
    """The files of a data set.

    Attributes:
        root: Folder of the data set.
        examples: Images with ground truth.
        unpaired: Files that cannot be used, by kind.
    """

    root: Path
    examples: list[Example]
    unpaired: dict[str, list[str]] = field(default_factory=dict)

    def split(self, name: str) -> list[Example]:
        """Return the examples of one split."""
        return [example for example in self.examples if example.split == name]

    def counts(self) -> dict[str, int]:
        """Return the number of images of each split, in the order of ``order_splits``."""
        counts = Counter(example.split for example in self.examples)
        return {name: counts[name] for name in order_splits(counts)}


@dataclass(frozen=True)
class _File:
    """A file of a data set: its outer split folder or ``UNSPLIT``, and its path inside ``images/``, ``maps/`` ..."""

    outer: str
    relative: str
    path: Path


def read_layout(root: Path, named: Sequence[str | None] = ()) -> Layout:
    """Pair the files of a data set.

    Folders are splits if one of them, or of the folders beside it, is named train, val or test (or another form of
    these words), or if an option names it. Other folders are parts of the names of the images.

    Args:
        root: A folder with ``images/`` and ``maps/`` or ``fixations/`` or both (``fixation_maps``, ``saliency`` and
            ``density`` are other names of ``maps``), each with optional split folders inside, or the other way round
            (``train/images``); or a CSV manifest with the columns ``image,map,fixations,split``.
        named: Splits that options name; None for an option that is not set.

    Raises:
        DataError: If no image has ground truth; the message lists what was looked for and what was found.
    """
    if not os.path.lexists(root):
        raise DataError(f"{root}: no such folder.")
    if not is_folder(str(root)):
        return _read_manifest(root)
    left_out: dict[str, list[str]] = {}
    outer = _split_folders(_folders_in(root), named)
    kinds = ((IMAGE_FOLDERS, IMAGE_SUFFIXES), (MAP_FOLDERS, MAP_SUFFIXES), (FIXATION_FOLDERS, FIXATION_SUFFIXES))
    files = [_search(root, outer, names, suffixes, left_out) for names, suffixes in kinds]
    first = {file.relative.partition("/")[0] for kind in files for file in kind if _is_deep(file)}
    inner = _split_folders(sorted(first), named)
    images, maps, points = (_by_split_and_key(kind, inner, left_out) for kind in files)
    examples = [
        Example(key=key, split=split, image=path, map=maps.get((split, key)), fixations=points.get((split, key)))
        for (split, key), path in sorted(images.items())
    ]
    paired = [example for example in examples if example.map or example.fixations]
    if not paired:
        raise DataError(_nothing_found(root, len(images), len(maps), len(points)))
    unpaired = {
        "images without a map or fixations": [str(e.image) for e in examples if not (e.map or e.fixations)],
        "maps without an image": [str(path) for key, path in sorted(maps.items()) if key not in images],
        "fixations without an image": [str(path) for key, path in sorted(points.items()) if key not in images],
        **left_out,
    }
    return Layout(root=root, examples=paired, unpaired={kind: names for kind, names in unpaired.items() if names})


def _folders_in(root: Path) -> list[str]:
    """Return the names of the folders that may be outer split folders."""
    kinds = {*IMAGE_FOLDERS, *MAP_FOLDERS, *FIXATION_FOLDERS}
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] != "." and is_folder(entry.path))
    except OSError as error:
        raise DataError(f"{root}: the folder cannot be searched ({reason(error)}).") from error
    return [name for name in names if name not in kinds]


def _split_folders(names: Sequence[str], named: Sequence[str | None]) -> dict[str, str]:
    """Return {folder: split} of folders that lie beside each other; empty if they are no splits."""
    asked = {canonical_split(word).lower() for word in named if word}
    if not any(is_standard_split(name) or name.lower() in asked for name in names):
        return {}
    return {name: canonical_split(name) for name in names}


def _is_deep(file: _File) -> bool:
    return file.outer == UNSPLIT and "/" in file.relative


def _search(
    root: Path, outer: dict[str, str], names: Iterable[str], suffixes: Iterable[str], left_out: dict[str, list[str]]
) -> list[_File]:
    """Return the files of the folders with the first of ``names`` that holds any.

    A folder that cannot be searched is added to ``left_out``.
    """
    accepted = set(suffixes)
    for name in names:
        bases = [(UNSPLIT, root / name), *((split, root / folder / name) for folder, split in outer.items())]
        files: list[_File] = []
        for split, base in bases:
            if not is_folder(str(base)):
                continue
            for found in search_folder(base, lambda name: Path(name).suffix.lower() in accepted, results=True):
                if found.is_folder:
                    left_out.setdefault("folders that cannot be searched", []).append(str(found.path))
                else:
                    files.append(_File(split, found.relative, found.path))
        if files:
            return files
    return []


def _by_split_and_key(
    files: Sequence[_File], inner: dict[str, str], left_out: dict[str, list[str]]
) -> dict[tuple[str, str], Path]:
    """Return {(split, key): path}; a second file of the same split and key is added to ``left_out``."""
    paths: dict[tuple[str, str], Path] = {}
    for file in files:
        split, relative = file.outer, file.relative
        if inner and _is_deep(file):
            folder, _, relative = relative.partition("/")
            split = inner[folder]
        key = (split, without_suffix(relative))
        if key in paths:
            left_out.setdefault("files whose stem another file has", []).append(str(file.path))
        else:
            paths[key] = file.path
    return paths


def _nothing_found(root: Path, images: int, maps: int, points: int) -> str:
    """Return the message that no files pair, from the numbers of files of each kind."""
    entries = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    listing = ", ".join(entries[:12]) or "nothing"
    return (
        f"no image in {root} has a map or fixations of the same stem: looked for images/ with maps/ "
        f"({', '.join(MAP_FOLDERS[1:])}) or fixations/; found {images} images, {maps} maps, {points} fixation files "
        f"among {listing}."
    )


def _read_manifest(path: Path) -> Layout:
    try:
        with open_text(path, errors="surrogateescape") as stream:
            reader = csv.reader(stream)
            columns = [name.strip().lower() for name in next(reader, [])]
            "".join(columns).encode()  # file names may have any bytes, but a table has a readable header
            rows = [dict(zip(columns, map(str.strip, row), strict=False)) for row in reader if row]
    except (OSError, UnicodeEncodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable manifest CSV ({error}).") from error
    if "image" not in columns or not {"map", "fixations"} & set(columns):
        raise DataError(
            f"{path}: a manifest has the columns image,map,fixations,split; this has {', '.join(columns) or 'none'}."
        )
    examples, without_truth, missing = [], [], []
    for row in rows:
        files = {name: path.parent / row[name] for name in ("image", "map", "fixations") if row.get(name)}
        if "image" not in files:
            continue
        if absent := [str(file) for file in files.values() if not is_file(str(file))]:
            missing += absent
            continue
        if len(files) == 1:
            without_truth.append(str(files["image"]))
            continue
        key = without_suffix(Path(row["image"]).as_posix())
        split = canonical_split(row.get("split", ""))
        examples.append(Example(key, split, files["image"], files.get("map"), files.get("fixations")))
    if not examples:
        raise DataError(f"{path}: no row names an existing image with a map or fixations ({len(rows)} rows).")
    unpaired = {
        "images without a map or fixations": without_truth,
        "missing files of the manifest": missing,
    }
    return Layout(root=path.parent, examples=examples, unpaired={kind: n for kind, n in unpaired.items() if n})
