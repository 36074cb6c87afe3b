"""Find labelled images: a folder per class, IDX files, or a manifest."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvkit import files
from cvkit.catalog import IDX_CLASSES
from cvkit.data import idx
from cvkit.data.class_folders import LabelledImage
from cvkit.data.collection import DataSource, find_source
from cvkit.data.splits import TRAIN, UNSPLIT, canonical_split, show_split
from cvkit.errors import DataError
from cvkit.inputs import open_text
from cvkit.messages import counted, printable_name

COLUMNS = ("image", "label")
MAX_LISTED = 8  # columns of another table that a message names


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images with their classes, in files or in an array.

    Attributes:
        labels: (N,) int64, index of each image's class.
        names: Name of each image: the path of its file, or its number in the array.
        paths: Files; None for an array.
        array: (N, H, W) or (N, H, W, 3) uint8; None for files.
    """

    labels: NDArray[np.int64]
    names: list[str]
    paths: list[Path] | None = None
    array: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> "LabelledImages":
        """Return the images of (M,) indices, in their order."""
        return LabelledImages(
            labels=self.labels[indices],
            names=[self.names[index] for index in indices],
            paths=None if self.paths is None else [self.paths[index] for index in indices],
            array=None if self.array is None else self.array[indices],
        )


def join_images(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Return the images of one or more splits of a data set together.

    Raises:
        DataError: If they are arrays of different shapes.
    """
    if len(parts) == 1:
        return parts[0]
    arrays = [part.array for part in parts if part.array is not None]
    if len({array.shape[1:] for array in arrays}) > 1:
        raise DataError("the splits have images of different sizes, which cannot be scored together: name one of them.")
    return LabelledImages(
        labels=np.concatenate([part.labels for part in parts]),
        names=[name for part in parts for name in part.names],
        paths=None if arrays else [path for part in parts for path in part.paths or ()],
        array=np.concatenate(arrays) if arrays else None,
    )


@dataclass(frozen=True, kw_only=True)
class LabelledSource:
    """The labelled images of a data set.

    Attributes:
        name: Name of the data set, for titles and messages.
        classes: Names of the classes by index.
        splits: Images by split. If the data has no splits, there is only ``train``, or ``UNSPLIT`` where
            ``read_every_split`` returns them.
        remarks: Sentences about how the data were interpreted.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, LabelledImages]
    remarks: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of images of each split."""
        return {name: len(images) for name, images in self.splits.items()}


def read_source(source: str) -> LabelledSource:
    """Find the images of a data set with their classes; image files are not opened.

    Args:
        source: A folder with a folder per class (with or without split folders above them), a folder of IDX files, or a
            manifest CSV file.

    Raises:
        DataError: If there are no images, if they have no classes, or if a file cannot be read.
    """
    found = _read_any(source, (), every_split=False)
    if UNSPLIT in found.splits:
        return replace(found, splits={TRAIN: found.splits[UNSPLIT]})
    return found


def read_every_split(source: str, named: Sequence[str] = ()) -> LabelledSource:
    """Find the images of every split of a data set with their classes; image files are not opened.

    Args:
        source: As in ``read_source``.
        named: Names of splits. A folder of this name is a split although it has none of the usual names.

    Returns:
        The images; those of data without splits under ``UNSPLIT``.

    Raises:
        DataError: If there are no images, if they have no classes, or if a file cannot be read.
    """
    return _read_any(source, named, every_split=True)


def _read_any(source: str, named: Sequence[str], *, every_split: bool) -> LabelledSource:
    if files.is_file(source) and Path(source).suffix.lower() in (".csv", ".tsv"):
        return _read_manifest(Path(source))
    found = find_source(source, named, every_split=every_split)
    if found.idx:
        return _read_idx(found)
    if not found.classes:
        raise DataError(f"{source}: the images are not in class folders; put the images of each class into one folder.")
    splits = {}
    for split, images in found.image_files.items():
        splits[split] = _from_files(images)
        if len(splits[split]) < len(images):
            loose = next(image.path for image in images if image.label is None)
            missing = counted(len(images) - len(splits[split]), "image")
            raise DataError(f"{source}: {missing} of {show_split(split)} in no class folder, such as {loose}.")
    empty = tuple(f"{path} is empty: is a class missing?" for path in _empty_folders(Path(source)))
    return LabelledSource(name=found.name, classes=found.classes, splits=splits, remarks=(*found.remarks, *empty))


def _from_files(images: list[LabelledImage]) -> LabelledImages:
    labelled = [image for image in images if image.label is not None]
    return LabelledImages(
        labels=np.array([image.label for image in labelled], dtype=np.int64),
        names=[str(image.path) for image in labelled],
        paths=[image.path for image in labelled],
    )


def _empty_folders(folder: Path) -> list[Path]:
    """Return the folders without any entry, at most two levels below ``folder``."""
    children = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if files.is_folder(str(path))]
    return sorted(path for path in children if path.name[0] != "." and not any(path.iterdir()))


def _read_idx(source: DataSource) -> LabelledSource:
    splits: dict[str, LabelledImages] = {}
    classes: tuple[str, ...] = ()
    for split, parts in source.idx.items():
        if "labels" not in parts:
            raise DataError(f"{parts['images']}: there are {split} images, but no {split} labels beside them.")
        array, labels = idx.read_idx(parts["images"]), idx.read_idx(parts["labels"])
        if array.ndim not in (3, 4) or not array.size or (array.ndim == 4 and array.shape[3] != 3):
            raise DataError(f"{parts['images']}: {'x'.join(map(str, array.shape))} values are no grey or RGB images.")
        if labels.shape != array.shape[:1]:
            raise DataError(f"{parts['labels']}: {labels.size:,} labels for {len(array):,} images.")
        classes = classes or IDX_CLASSES.get(files.sha256_of(labels.tobytes()), ())
        names = [f"{split}/{number}" for number in range(len(array))]
        splits[split] = LabelledImages(labels=labels.astype(np.int64), names=names, array=array)
    count = int(max(part.labels.max() for part in splits.values())) + 1
    classes = classes if len(classes) >= count else tuple(map(str, range(count)))
    return LabelledSource(name=source.name, classes=classes, splits=splits)


def _read_manifest(path: Path) -> LabelledSource:
    rows = _manifest_rows(path)
    names = {row["label"] for row in rows}
    numeric = all(name.isascii() and name.isdecimal() for name in names)
    classes = tuple(sorted(names, key=(lambda name: (int(name), name)) if numeric else str))
    indices = {name: index for index, name in enumerate(classes)}
    splits: dict[str, list[LabelledImage]] = {}
    for row in rows:
        word = canonical_split(row.get("split") or UNSPLIT)
        splits.setdefault(word, []).append(LabelledImage(path.parent / row["image"], indices[row["label"]]))
    remarks = []
    if UNSPLIT in splits and len(splits) > 1:
        images = counted(len(splits.pop(UNSPLIT)), "image")
        remarks.append(f"{path}: {images} without a split left out, because others have one")
    return LabelledSource(
        name=path.stem,
        classes=classes,
        splits={split: _from_files(images) for split, images in splits.items()},
        remarks=tuple(remarks),
    )


def _manifest_rows(path: Path) -> list[dict[str, str]]:
    try:
        with open_text(path, errors="surrogateescape") as stream:
            reader = csv.reader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            columns = [name.strip().lower() for name in next(reader, [])]
            "".join(columns).encode()  # file names may have any bytes, but a table has a readable header
            lines = [
                (reader.line_num, dict(zip(columns, map(str.strip, row), strict=False))) for row in reader if any(row)
            ]
    except (OSError, UnicodeEncodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable manifest ({error}).") from error
    if not set(COLUMNS) <= set(columns):
        listed = ", ".join(map(printable_name, columns[:MAX_LISTED])) or "none"
        raise DataError(f"{path}: a manifest has the columns image, label and, optionally, split; this has {listed}.")
    for number, row in lines:
        if not row.get("image") or not row.get("label"):
            raise DataError(f"{path}: line {number} names no {'label' if row.get('image') else 'image'}.")
    if not lines:
        raise DataError(f"{path}: the manifest names no image.")
    return [row for _, row in lines]
