"""A data set to look at: where its images are, and the same images in memory, train and test apart."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvkit import files
from cvkit.catalog import IDX_CLASSES
from cvkit.data import idx
from cvkit.data.class_folders import LabelledImage, read_folder
from cvkit.data.image_set import (
    Failed,
    ImageSet,
    as_images,
    common_size,
    is_grey,
    read_photographs,
    resized,
    with_channels,
)
from cvkit.errors import DataError, UsageError

SMALL = (
    64  # photographs are brought to this many pixels a side where no size is asked for, unless smaller and all alike
)
FEWEST = 2  # train images
ORDER = ("train", "val", "test")
Tell = Callable[[str, int, int], None]  # the split, images in all, images done


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the images of a data set are: IDX files, or image files, by split; ``classes`` are those of folders."""

    name: str
    idx: dict[str, dict[str, Path]] = field(default_factory=dict)
    photographs: dict[str, list[LabelledImage]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def paths(self) -> list[Path]:
        """Return all its files."""
        return [path for parts in self.idx.values() for path in parts.values()] + [
            image.path for images in self.photographs.values() for image in images
        ]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How images are brought to one size and kind, and which of them.

    ``size`` (height, width) or None for their own where that is small; ``color`` auto, grey or rgb; ``test_fraction``
    is held out where there is no test split; at most ``limit`` images of each split, drawn by ``seed``.
    """

    size: tuple[int, int] | None = None
    color: str = "auto"
    max_pixels: int = 178_000_000
    test_fraction: float = 0.1
    limit: int | None = None
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The images of a data set in memory, by split, all of one size and kind; ``train`` and ``test`` are always there.

    ``classes`` names the labels, as far as names are known; ``failures`` are images that could not be read, ``remarks``
    sentences about what was made of the data.
    """

    splits: dict[str, ImageSet]
    classes: tuple[str, ...]
    failures: list[Failed]
    remarks: list[str]

    def sha256(self) -> str:
        """Return what tells these images and labels, train and test, from others."""
        parts = [self.splits[name] for name in ("train", "test")]
        content = [files.sha256_of(part.images.numpy().data) for part in parts]
        content += [
            files.sha256_of(np.ascontiguousarray(part.labels).data) for part in parts if part.labels is not None
        ]
        return files.sha256_of(" ".join(content).encode("ascii"))

    def class_name(self, label: int) -> str:
        """Return the name of a class, its number where it has none."""
        return self.classes[label] if label < len(self.classes) else str(label)


def find_source(source: str) -> Source:
    """Return where the images of a folder (IDX files, classes, splits, or flat) are; raises DataError for none."""
    folder = Path(source)
    found = idx.find_idx(folder) if files.is_folder(source) else {}
    if not found:
        if idx.is_idx_name(folder.name):
            raise DataError(f"{source} is one file of an IDX data set: name the folder that holds its files.")
        images = read_folder(source)
        facts = {"photographs": images.splits, "classes": images.classes, "remarks": images.remarks}
        return Source(name=folder.resolve().name if files.is_folder(source) else source, **facts)  # type: ignore[arg-type]
    for split, parts in found.items():
        if "images" not in parts:
            raise DataError(f"{parts['labels']}: there are labels, but no {split} images beside them.")
    if "train" not in found:
        raise DataError(f"{found['test']['images']}: there are test images, but no train images beside them.")
    return Source(name=folder.name or folder.resolve().name, idx=found)


def read_collection(source: Source, reading: Reading, tell: Tell = lambda *_: None) -> Collection:
    """Read the images of a source into memory; ``tell`` is called with (split, images in all, images done).

    Raises DataError for a damaged IDX file, labels of another number than images, fewer than two images to train on or
    none to test, or where no image can be read.
    """
    remarks = list(source.remarks)
    failures: list[Failed] = []
    splits, classes = (_from_idx if source.idx else _from_photographs)(source, reading, tell, remarks, failures)
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
        remarks.append("there is no test split: val is taken for it")
    if "test" not in splits:
        splits["train"], splits["test"] = _divided(splits["train"], reading)
        remarks.append(f"there is no test split: {len(splits['test'])} of the images are held out as test")
    if min(len(part) for part in splits.values()) == 0:
        empty = next(name for name, part in splits.items() if len(part) == 0)
        if failures:
            raise DataError(f"{source.name}: no usable {empty} image is left: {failures[0].message}")
        raise DataError(f"{source.name}: no {empty} images; {FEWEST} are needed to train on, and one to test.")
    if len(splits["train"]) < FEWEST:
        raise DataError(f"{source.name}: {len(splits['train'])} image to train on; {FEWEST} or more are needed.")
    channels = {"grey": 1, "rgb": 3}.get(reading.color) or _channels(splits)
    size = reading.size or splits["train"].images.shape[-2:]
    for name, part in splits.items():
        if reading.size is None and part.images.shape[-2:] != size:
            remarks.append(f"the {name} images are brought to the size of the train images")
    for name in sorted(splits, key=ORDER.index):
        part = splits.pop(name)  # put back in its place among the others
        images = with_channels(resized(part.images, (size[0], size[1])), channels)
        splits[name] = ImageSet(images=images, labels=part.labels, names=part.names)
    _remark_on_labels(splits, remarks)
    return Collection(splits=splits, classes=classes, failures=failures, remarks=remarks)


def _channels(splits: dict[str, ImageSet]) -> int:
    return 1 if all(part.images.shape[1] == 1 or is_grey(part.images) for part in splits.values()) else 3


def _remark_on_labels(splits: dict[str, ImageSet], remarks: list[str]) -> None:
    unlabelled = [name for name, part in splits.items() if part.labels is None]
    if unlabelled:
        remarks.append(f"no labels for {' and '.join(unlabelled)}: no colours by class, and no 10-NN accuracy")
    elif len(np.unique(np.concatenate([part.labels for part in splits.values() if part.labels is not None]))) == 1:
        remarks.append("all images are of one class: no 10-NN accuracy")


def _divided(whole: ImageSet, reading: Reading) -> tuple[ImageSet, ImageSet]:
    """Hold out a share as the test split, drawn by the seed."""
    count = len(whole)
    held_out = min(max(0, count - FEWEST), max(1, round(count * reading.test_fraction)))
    order = np.random.default_rng(reading.seed).permutation(count)
    return whole.take(np.sort(order[held_out:])), whole.take(np.sort(order[:held_out]))


def _drawn(count: int, reading: Reading) -> NDArray[np.int64]:
    """Return the numbers of the images to take, in order."""
    if reading.limit is None or reading.limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(reading.seed).choice(count, reading.limit, replace=False))


def _from_idx(
    source: Source, reading: Reading, tell: Tell, remarks: list[str], failures: list[Failed]
) -> tuple[dict[str, ImageSet], tuple[str, ...]]:
    del remarks, failures  # an IDX file is read whole or not at all
    splits: dict[str, ImageSet] = {}
    classes: tuple[str, ...] = ()
    for split, parts in source.idx.items():
        tell(split, 1, 0)
        array = idx.read_idx(parts["images"])
        try:
            images = as_images(array)
        except DataError as error:
            raise DataError(f"{parts['images']}: {error}") from error
        if not images.numel() and len(images):
            raise DataError(f"{parts['images']}: images of {'x'.join(map(str, array.shape[1:]))} pixels hold nothing.")
        labels = None
        if "labels" in parts:
            found = idx.read_idx(parts["labels"])
            if found.shape != (len(images),):
                labels_there = "x".join(f"{length:,}" for length in found.shape)
                raise DataError(f"{parts['labels']}: {labels_there} labels for {len(images):,} images.")
            classes = classes or IDX_CLASSES.get(files.sha256_of(found.tobytes()), ())
            labels = found.astype(np.int64)
        whole = ImageSet(images=images, labels=labels, names=[str(number) for number in range(len(images))])
        splits[split] = whole if reading.limit is None else whole.take(_drawn(len(whole), reading))
        tell(split, 1, 1)
    return splits, classes


def _from_photographs(
    source: Source, reading: Reading, tell: Tell, remarks: list[str], failures: list[Failed]
) -> tuple[dict[str, ImageSet], tuple[str, ...]]:
    chosen = {
        split: [images[number] for number in _drawn(len(images), reading)]
        for split, images in source.photographs.items()
    }
    every = [image for images in chosen.values() for image in images]
    size = reading.size
    if size is None:
        tell("headers of all", len(every), 0)
        common = common_size(every, reading.max_pixels, reading.threads, partial(tell, "headers of all", len(every)))
        size = common if common and max(common) <= SMALL else (SMALL, SMALL)
        if size != common:
            found = f"{common[0]}x{common[1]}" if common else "several sizes"
            remarks.append(f"images of {found} are brought to {size[0]}x{size[1]} (--size)")
    splits: dict[str, ImageSet] = {}
    for split, images in chosen.items():
        tell(split, len(images), 0)
        splits[split], failed = read_photographs(
            images,
            size,
            max_pixels=reading.max_pixels,
            threads=reading.threads,
            on_progress=partial(tell, split, len(images)),
        )
        failures.extend(failed)
    return splits, source.classes


def check_splits(source: Source, asked: tuple[str, ...]) -> None:
    """Raise UsageError for a split to embed that the data will not have; nothing is read."""
    found = {"train", "test", *source.photographs} if "test" in source.photographs else {"train", "test"}
    for name in asked:
        if name not in found:
            there = " and ".join(split for split in ORDER if split in found)
            raise UsageError(f"--embed {name}: the data has {there} only.")
