"""Find a data set of images, and read it into memory with its training and test splits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cvkit import files
from cvkit.catalog import IDX_CLASSES
from cvkit.data import idx
from cvkit.data.class_folders import LabelledImage, read_every_split, read_folder
from cvkit.data.image_set import (
    ImageSet,
    UnreadableImage,
    as_images,
    common_size,
    is_grey,
    read_images,
    resized,
    with_channels,
)
from cvkit.data.splits import canonical_split, order_splits
from cvkit.errors import DataError, UsageError
from cvkit.messages import nearest
from cvkit.progress import Reporter, Stage, StageEnd, Step, ignore

DEFAULT_SIDE = 64  # pixels per side of image files, unless a size is given or all are of one smaller size
MIN_TRAIN_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """The files of a data set.

    Attributes:
        name: Name of the data set, for titles and messages.
        idx: Paths of IDX files by split and content (``images`` or ``labels``); empty for image files.
        image_files: Image files by split; empty for IDX files.
        classes: Names of the class folders, by label.
        remarks: Sentences about how the folder was interpreted.
    """

    name: str
    idx: dict[str, dict[str, Path]] = field(default_factory=dict)
    image_files: dict[str, list[LabelledImage]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def paths(self) -> list[Path]:
        """Return the paths of all files."""
        return [path for parts in self.idx.values() for path in parts.values()] + [
            image.path for images in self.image_files.values() for image in images
        ]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options for reading a data set: the images to read, and how to convert them."""

    size: tuple[int, int] | None = None
    color: str = "auto"
    max_pixels: int = 178_000_000
    test_fraction: float = 0.1
    limit: int | None = None
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The images of a data set in memory, all of one size and number of channels.

    Attributes:
        splits: Images by split, ``train`` and ``test`` always among them.
        classes: Names of the classes by label; shorter than the number of labels if names are unknown.
        failures: Images that could not be read.
        remarks: Sentences about how the data were interpreted.
    """

    splits: dict[str, ImageSet]
    classes: tuple[str, ...]
    failures: list[UnreadableImage]
    remarks: list[str]

    def sha256(self) -> str:
        """Return a digest of the images and labels of the training and test splits."""
        parts = [self.splits[name] for name in ("train", "test")]
        content = [files.sha256_of(part.images.numpy().data) for part in parts]
        content += [
            files.sha256_of(np.ascontiguousarray(part.labels).data) for part in parts if part.labels is not None
        ]
        return files.sha256_of(" ".join(content).encode("ascii"))

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its label as text if the name is unknown."""
        return self.classes[label] if label < len(self.classes) else str(label)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """The splits that were read from a source, and what is to be reported about them."""

    splits: dict[str, ImageSet]
    classes: tuple[str, ...]
    failures: list[UnreadableImage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def find_source(source: str, named: Sequence[str] = (), *, every_split: bool = False) -> DataSource:
    """Find the images of a data set, without reading them.

    Args:
        source: A folder of IDX files or of image files (see ``read_folder``), a glob, or ``@list.txt``.
        named: Splits that an option names, beside train, val and test.
        every_split: Whether every folder of class folders beside a split is a split (see ``read_every_split``), and
            training images may be missing.

    Raises:
        DataError: There is no image, or the training images are missing.
    """
    folder = Path(source)
    splits = idx.find_idx(folder) if files.is_folder(source) else {}
    if not splits:
        if idx.is_idx_name(folder.name):
            raise DataError(f"{source} is one file of an IDX data set: name the folder that holds its files.")
        read = read_every_split if every_split and files.is_folder(source) else read_folder
        images = read(source, named)
        name = folder.resolve().name if files.is_folder(source) else source
        return DataSource(name=name, image_files=images.splits, classes=images.classes, remarks=images.remarks)
    for split, parts in splits.items():
        if "images" not in parts:
            raise DataError(f"{parts['labels']}: there are labels, but no {split} images beside them.")
    if "train" not in splits and not every_split:
        raise DataError(f"{splits['test']['images']}: there are test images, but no train images beside them.")
    return DataSource(name=folder.name or folder.resolve().name, idx=splits)


def choose_splits(source: DataSource, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the splits to embed as the data will have them, before anything is read.

    Args:
        source: The data set.
        names: The splits as the user names them.

    Raises:
        UsageError: The data will lack one of them.
    """
    files = source.image_files
    available = {"train", "test", *(name for name in files if name != "val" or "test" in files)}
    known = {name.lower(): name for name in available}
    for word in names:
        if canonical_split(word).lower() not in known:
            listed = " and ".join(order_splits(available))
            raise UsageError(f"--embed {word}: the data has {listed} only.{nearest(word, available)}")
    return tuple(known[canonical_split(word).lower()] for word in names)


def read_collection(source: DataSource, options: ReadOptions, report: Reporter = ignore) -> Collection:
    """Read the images of a data set into memory.

    A validation split serves as the test split if there is none. If there is neither, a part of the training images is
    held out.

    Args:
        source: The files, from ``find_source``.
        options: Which images to read, and how to convert them.
        report: Receives a stage of progress per split.

    Raises:
        DataError: An IDX file is damaged, the number of labels differs from that of images, there are fewer than two
            training images or no test image, no image can be read, or the images do not fit in memory.
    """
    reading = (_read_idx_files if source.idx else _read_image_files)(source, options, report)
    splits, remarks = reading.splits, [*source.remarks, *reading.remarks]
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
        remarks.append("there is no test split: val is taken for it")
    if "test" not in splits:
        splits["train"], splits["test"] = _hold_out(splits["train"], options)
        remarks.append(f"there is no test split: {len(splits['test'])} of the images are held out as test")
    _check_counts(source.name, splits, reading.failures)
    channels = {"grey": 1, "rgb": 3}.get(options.color) or _common_channels(splits)
    height, width = options.size or splits["train"].images.shape[-2:]
    for name, part in splits.items():
        if options.size is None and part.images.shape[-2:] != (height, width):
            remarks.append(f"the {name} images are resized to the size of the train images")
    for name in order_splits(splits):
        part = splits.pop(name)  # removed, so that the memory of the original images is freed; and put back in order
        images = with_channels(resized(part.images, (height, width)), channels)
        splits[name] = ImageSet(images=images, labels=part.labels, names=part.names)
    remarks += _label_remarks(splits)
    return Collection(splits=splits, classes=reading.classes, failures=reading.failures, remarks=remarks)


def _check_counts(name: str, splits: dict[str, ImageSet], failures: list[UnreadableImage]) -> None:
    for split, part in splits.items():
        if len(part):
            continue
        if failures:
            raise DataError(f"{name}: no usable {split} image is left: {failures[0].message}")
        raise DataError(f"{name}: no {split} images; {MIN_TRAIN_IMAGES} are needed to train on, and one to test.")
    if len(splits["train"]) < MIN_TRAIN_IMAGES:
        raise DataError(f"{name}: {len(splits['train'])} image to train on; {MIN_TRAIN_IMAGES} or more are needed.")


def _common_channels(splits: dict[str, ImageSet]) -> int:
    return 1 if all(part.images.shape[1] == 1 or is_grey(part.images) for part in splits.values()) else 3


def _label_remarks(splits: dict[str, ImageSet]) -> list[str]:
    unlabelled = [name for name, part in splits.items() if part.labels is None]
    if unlabelled:
        return [f"no labels for {' and '.join(unlabelled)}: no colours by class, and no 10-NN accuracy"]
    if len(np.unique(np.concatenate([part.labels for part in splits.values() if part.labels is not None]))) == 1:
        return ["all images are of one class: no 10-NN accuracy"]
    return []


def _hold_out(images: ImageSet, options: ReadOptions) -> tuple[ImageSet, ImageSet]:
    """Split images at random into a training and a test split."""
    count = len(images)
    held_out = min(max(0, count - MIN_TRAIN_IMAGES), max(1, round(count * options.test_fraction)))
    order = np.random.default_rng(options.seed).permutation(count)
    return images.subset(np.sort(order[held_out:])), images.subset(np.sort(order[:held_out]))


def _chosen_indices(count: int, options: ReadOptions) -> NDArray[np.int64]:
    """Return the indices of the images to read out of ``count``, in ascending order."""
    if options.limit is None or options.limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(options.seed).choice(count, options.limit, replace=False))


def _read_idx_files(source: DataSource, options: ReadOptions, report: Reporter) -> _Reading:
    splits: dict[str, ImageSet] = {}
    classes: tuple[str, ...] = ()
    for split, parts in source.idx.items():
        report(Stage(f"reading {split} images", 1))
        images = _read_idx_images(parts["images"])
        labels = None
        if "labels" in parts:
            numbers = idx.read_idx(parts["labels"])
            if numbers.shape != (len(images),):
                shape = "x".join(f"{length:,}" for length in numbers.shape)
                raise DataError(f"{parts['labels']}: {shape} labels for {len(images):,} images.")
            classes = classes or IDX_CLASSES.get(files.sha256_of(numbers.tobytes()), ())
            labels = numbers.astype(np.int64)
        whole = ImageSet(images=images, labels=labels, names=[str(index) for index in range(len(images))])
        splits[split] = whole if options.limit is None else whole.subset(_chosen_indices(len(whole), options))
        report(Step(1))
        report(StageEnd())
    return _Reading(splits=splits, classes=classes)


def _read_idx_images(path: Path) -> Tensor:
    array = idx.read_idx(path)
    try:
        images = as_images(array)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not images.numel() and len(images):
        raise DataError(f"{path}: images of {'x'.join(map(str, array.shape[1:]))} pixels hold nothing.")
    return images


def _read_image_files(source: DataSource, options: ReadOptions, report: Reporter) -> _Reading:
    chosen = {
        split: [images[index] for index in _chosen_indices(len(images), options)]
        for split, images in source.image_files.items()
    }
    size, remarks = (options.size, []) if options.size else _choose_size(chosen, options, report)
    splits: dict[str, ImageSet] = {}
    failures: list[UnreadableImage] = []
    for split, images in chosen.items():
        report(Stage(f"reading {split} images", len(images)))
        splits[split], unreadable = read_images(
            images, size, max_pixels=options.max_pixels, threads=options.threads, report=report
        )
        failures += unreadable
        report(StageEnd())
    return _Reading(splits=splits, classes=source.classes, failures=failures, remarks=remarks)


def _choose_size(
    splits: dict[str, list[LabelledImage]], options: ReadOptions, report: Reporter
) -> tuple[tuple[int, int], list[str]]:
    """Return the size to resize images to, and a remark if that changes their size."""
    images = [image for part in splits.values() for image in part]
    report(Stage("reading headers of all images", len(images)))
    common = common_size(images, options.max_pixels, options.threads, report)
    report(StageEnd())
    if common and max(common) <= DEFAULT_SIDE:
        return common, []
    before = f"{common[0]}x{common[1]}" if common else "several sizes"
    return (DEFAULT_SIDE, DEFAULT_SIDE), [f"images of {before} are resized to {DEFAULT_SIDE}x{DEFAULT_SIDE} (--size)"]
