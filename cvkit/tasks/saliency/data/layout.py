"""Find the images, maps and fixations of a saliency data set, pair them by stem, and split them."""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cvkit.catalog import IMAGE_SUFFIXES
from cvkit.errors import DataError
from cvkit.files import is_file, is_folder
from cvkit.inputs import open_text, search_folder, without_suffix
from cvkit.tasks.saliency.data.fixations import FIXATION_SUFFIXES

IMAGE_FOLDERS = ("images", "stimuli")
MAP_FOLDERS = ("maps", "fixation_maps", "saliency", "density")
FIXATION_FOLDERS = ("fixations", "fixation_locations", "fixlocs")
MAP_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy", ".bmp", ".tif", ".tiff")
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
ALL = ""  # split name in a data set without splits


@dataclass(frozen=True)
class Example:
    """One image with its ground truth: a map, fixations, or both.

    Attributes:
        key: Path of the image inside its folder, without suffix.
        split: "train", "val", "test", or ``ALL``.
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

    def splits(self) -> list[str]:
        """Return the names of the present splits in the order train, val, test."""
        present = {example.split for example in self.examples}
        return [name for name in ("train", "val", "test", ALL) if name in present]


def read_layout(root: Path) -> Layout:
    """Pair the files of a data set.

    Args:
        root: A folder with ``images/`` and ``maps/`` or ``fixations/`` or both (``fixation_maps``, ``saliency`` and
            ``density`` are other names of ``maps``), each with optional split folders inside, or the other way round
            (``train/images``); or a CSV manifest with the columns ``image,map,fixations,split``.

    Raises:
        DataError: If no image has ground truth; the message lists what was looked for and what was found.
    """
    if not os.path.lexists(root):
        raise DataError(f"{root}: no such folder.")
    if not is_folder(str(root)):
        return _read_manifest(root)
    left_out: dict[str, list[str]] = {}
    images = _collect(root, IMAGE_FOLDERS, IMAGE_SUFFIXES, left_out)
    maps = _collect(root, MAP_FOLDERS, MAP_SUFFIXES, left_out)
    points = _collect(root, FIXATION_FOLDERS, FIXATION_SUFFIXES, left_out)
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


def _collect(
    root: Path, names: Iterable[str], suffixes: Iterable[str], left_out: dict[str, list[str]]
) -> dict[tuple[str, str], Path]:
    """Return {(split, key): file} of the folders with the first of ``names`` that holds any file.

    A second file of the same split and key, and a folder that cannot be searched, are added to ``left_out``.
    """
    accepted = set(suffixes)
    for name in names:
        bases = [(ALL, root / name)]
        bases += [(split, root / word / name) for word, split in SPLITS.items()]
        files: dict[tuple[str, str], Path] = {}
        for split, base in bases:
            if not is_folder(str(base)):
                continue
            for found in search_folder(base, lambda name: Path(name).suffix.lower() in accepted, results=True):
                if found.is_folder:
                    left_out.setdefault("folders that cannot be searched", []).append(str(found.path))
                    continue
                first, _, rest = found.relative.partition("/")
                inner = SPLITS.get(first.lower()) if split == ALL and rest else None
                key = (inner or split, without_suffix(rest if inner else found.relative))
                if key in files:
                    left_out.setdefault("files whose stem another file has", []).append(str(found.path))
                else:
                    files[key] = found.path
        if files:
            return files
    return {}


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
        word = row.get("split", "").lower()
        if word and word not in SPLITS:
            raise DataError(f"{path}: the split {word!r} is not one of train, val, test.")
        key = without_suffix(Path(row["image"]).as_posix())
        split = SPLITS.get(word, ALL)
        examples.append(Example(key, split, files["image"], files.get("map"), files.get("fixations")))
    if not examples:
        raise DataError(f"{path}: no row names an existing image with a map or fixations ({len(rows)} rows).")
    unpaired = {
        "images without a map or fixations": without_truth,
        "missing files of the manifest": missing,
    }
    return Layout(root=path.parent, examples=examples, unpaired={kind: n for kind, n in unpaired.items() if n})


def train_val_split(layout: Layout, val_fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Return the training and the validation examples.

    A data set with both splits keeps them. Otherwise a random part of the training images is used for validation; the
    test split is never used.

    Args:
        layout: Files of the data set.
        val_fraction: Fraction of the training images to use for validation, from 0 to 1; at least one image is used.
        seed: Seed of the random choice.

    Raises:
        DataError: If there are no training images, or only one and no validation images.
    """
    train = layout.split("train") or layout.split(ALL)
    val = layout.split("val")
    if not train:
        raise DataError(f"{layout.root}: no training images; the splits found are {', '.join(layout.splits())}.")
    if val:
        return train, val
    if len(train) < 2:
        raise DataError(f"{layout.root}: one image only; training and validation need one image each.")
    order = np.random.default_rng(seed).permutation(len(train))
    held_out = max(1, round(val_fraction * len(train)))
    held_out = min(held_out, len(train) - 1)
    chosen = set(order[:held_out].tolist())
    return (
        [replace(example, split="train") for index, example in enumerate(train) if index not in chosen],
        [replace(example, split="val") for index, example in enumerate(train) if index in chosen],
    )


def evaluation_examples(layout: Layout, split: str | None) -> list[Example]:
    """Return the examples to score.

    Args:
        layout: Files of the data set.
        split: Name of a split, or "all"; None for val, else test, else all examples.

    Raises:
        DataError: If there is no such split.
    """
    if split is not None:
        word = SPLITS.get(split.lower(), split)
        chosen = layout.examples if split == "all" else layout.split(word)
        if not chosen:
            present = ", ".join(name or "(none)" for name in layout.splits())
            raise DataError(f"{layout.root}: no split {split!r}; there are: {present}.")
        return chosen
    for name in ("val", "test"):
        if layout.split(name):
            return layout.split(name)
    return layout.examples
