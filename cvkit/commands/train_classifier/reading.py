"""Read, divide and check the images of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cvkit.catalog import Preprocessing
from cvkit.config import TrainClassifierConfig
from cvkit.config.values import format_size
from cvkit.data.image_set import UnreadableImage
from cvkit.data.splits import TEST, TRAIN, VAL
from cvkit.engine.run_folder import DATA_DIGEST, SPLITS, RunFolder
from cvkit.errors import DataError, OutputError
from cvkit.files import read_json, sha256_of, write_csv
from cvkit.messages import counted, printable_name
from cvkit.processes import cpu_count
from cvkit.progress import Facts, Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.data.augment import Augmentation
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.data.prepare import Prepared, fits_in_memory, prepare
from cvkit.tasks.classification.data.reading import ImageReader
from cvkit.tasks.classification.data.source import LabelledSource, read_source
from cvkit.tasks.classification.data.splitting import Splits, split_images

MAX_LISTED = 3  # unreadable files that a message names
MAX_CLASSES = 40  # classes whose numbers of images are printed
SPLIT_COLUMNS = ("image", "label", "split")


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """The images of a run, before they are opened.

    Attributes:
        source: The data.
        splits: Training, validation and, perhaps, test images.
    """

    source: LabelledSource
    splits: Splits

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.source.classes


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The images of a run, all of which have been read once.

    Attributes:
        train: Training images.
        val: Validation images.
        test: Test images; None if there are none.
        failures: Images that could not be read.
        sha256: Digest of the contents and classes of all images in their order.
    """

    train: ClassImages
    val: ClassImages
    test: ClassImages | None
    failures: list[UnreadableImage]
    sha256: str

    def identity(self) -> dict[str, Any]:
        """Return what a resumed run compares: the number of images of each split, and the digest of all images."""
        return {TRAIN: len(self.train), VAL: len(self.val), DATA_DIGEST: self.sha256}

    def splits(self) -> dict[str, ClassImages]:
        """Return the images by split."""
        return {TRAIN: self.train, VAL: self.val} | ({} if self.test is None else {TEST: self.test})


def find_images(config: TrainClassifierConfig, report: Reporter) -> FoundImages:
    """Find the images and divide them, without opening image files.

    Raises:
        DataError: If there are not enough images or classes, or if the images have no classes.
        UsageError: If ``split`` is given for data that is divided already.
    """
    source = read_source(config.data)
    splits = split_images(source, config.split, config.limit, config.seed)
    if config.test and TEST not in splits.images:
        raise DataError(f"--test: {config.data} has no test images; add a third part to --split, such as 75/15/10.")
    for remark in (*source.remarks, *splits.remarks):
        report(Note(remark, "warning"))
    return FoundImages(source=source, splits=splits)


def check_same_classes(folder: RunFolder, config: TrainClassifierConfig, classes: Sequence[str]) -> None:
    """Check that a run to resume was started with the same classes.

    Raises:
        OutputError: If the names of the classes or their order differ.
    """
    if not (config.resume and folder.has_state):
        return
    document = read_json(folder.config)
    resolved = document.get("resolved") if isinstance(document, dict) else None
    before = resolved.get("classes") if isinstance(resolved, dict) else None
    if isinstance(before, list) and before != list(classes):
        raise OutputError(
            f"{folder.path} was started with the classes {_listed(before)}, and {config.data} has {_listed(classes)}: "
            "resume it with the same data."
        )


def _listed(names: Sequence[Any]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(printable_name(str(name)) for name in names[:MAX_LISTED]) + more


def class_counts(found: FoundImages) -> Facts:
    """Return the number of images of every class by split; of many classes, the largest and the smallest ones."""
    counts = {
        name: np.bincount(part.labels, minlength=len(found.classes)) for name, part in found.splits.images.items()
    }
    order = range(len(found.classes))
    left_out = len(found.classes) - MAX_CLASSES
    if left_out > 0:
        by_size = sorted(order, key=lambda label: -counts[TRAIN][label])
        order = [*by_size[: MAX_CLASSES // 2], *by_size[-MAX_CLASSES // 2 :]]  # type: ignore[assignment]
    rows = [(found.classes[k], ", ".join(f"{name} {counts[name][k]}" for name in counts)) for k in order]
    if left_out > 0:
        rows.insert(MAX_CLASSES // 2, ("...", f"{left_out} more classes"))
    return Facts("images per class", tuple(rows))


def write_splits(folder: RunFolder, found: FoundImages) -> None:
    """Write the split of every image to ``splits.csv``, which is a manifest itself if the images are files."""
    rows = [
        {"image": str(images.paths[k].absolute()) if images.paths else images.names[k], "label": found.classes[label]}
        | {"split": name}
        for name, images in found.splits.images.items()
        for k, label in enumerate(images.labels.tolist())
    ]
    write_csv(folder.path / SPLITS, SPLIT_COLUMNS, rows)


def read_images(
    config: TrainClassifierConfig, found: FoundImages, preprocessing: Preprocessing, report: Reporter
) -> TrainingData:
    """Read every image once, so that problems show before the training starts.

    Args:
        config: Resolved settings.
        found: The images.
        preprocessing: Preprocessing of the network.
        report: Receives progress, and a warning about images that cannot be read.

    Raises:
        DataError: If no image of a split can be read, or with ``strict`` if any image cannot be read.
    """
    augmentation = Augmentation(config, preprocessing)
    readers = _readers(config, found, preprocessing, augmentation)
    cache = config.cache == "ram" or (config.cache == "auto" and fits_in_memory(list(readers.values())))
    prepared = {name: _prepare(name, reader, cache, report) for name, reader in readers.items()}
    failures = [failure for part in prepared.values() for failure in part.failures]
    _report_unreadable(config, failures, report)
    _check_readable(config, prepared, found.classes)
    storage = "kept in memory" if cache else "read again in each epoch"
    report(Note(f"images of {format_size(preprocessing.crop)} pixels, {storage}"))
    parts = {name: ClassImages(part.reader, cached=part.cached, seed=config.seed) for name, part in prepared.items()}
    train = prepared[TRAIN]
    return TrainingData(
        train=ClassImages(
            train.reader,
            cached=train.cached,
            augmentation=augmentation,
            balanced=config.balance == "sampler",
            seed=config.seed,
        ),
        val=parts[VAL],
        test=parts.get(TEST),
        failures=failures,
        sha256=sha256_of(" ".join([prepared[TRAIN].sha256, prepared[VAL].sha256, *found.classes]).encode()),
    )


def _readers(
    config: TrainClassifierConfig, found: FoundImages, preprocessing: Preprocessing, augmentation: Augmentation
) -> dict[str, ImageReader]:
    return {
        name: ImageReader(
            images=images,
            preprocessing=preprocessing,
            max_pixels=config.max_pixels,
            whole=name == TRAIN and augmentation.crops,
        )
        for name, images in found.splits.images.items()
    }


def _prepare(name: str, reader: ImageReader, cache: bool, report: Reporter) -> Prepared:
    report(Stage(f"reading {name} images", len(reader.images)))
    prepared = prepare(reader, cache=cache, threads=cpu_count(), on_progress=lambda done: report(Step(done)))
    report(StageEnd())
    return prepared


def _report_unreadable(config: TrainClassifierConfig, failures: list[UnreadableImage], report: Reporter) -> None:
    if not failures:
        return
    listed = "; ".join(failure.message for failure in failures[:MAX_LISTED])
    more = f"; {len(failures) - MAX_LISTED} more" if len(failures) > MAX_LISTED else ""
    message = f"{counted(len(failures), 'image')} cannot be read: {listed}{more}"
    if config.strict:
        raise DataError(f"{message} (--strict is set)")
    report(Note(f"left out, {message}", "warning"))


def _check_readable(config: TrainClassifierConfig, prepared: dict[str, Prepared], classes: Sequence[str]) -> None:
    """Check that the images that can be read are enough to train and to validate on."""
    for name, part in prepared.items():
        if not len(part.reader.images):
            raise DataError(f"{config.data}: no {name} image can be read: {part.failures[0].message}")
    present = {name: set(part.reader.images.labels.tolist()) for name, part in prepared.items()}
    if len(present[TRAIN]) < 2:
        raise DataError(f"{config.data}: the training images that can be read are of one class only.")
    missing = sorted(set().union(*present.values()) - present[TRAIN])
    if missing:
        name = printable_name(classes[missing[0]])
        raise DataError(f"{config.data}: no training image of the class {name} can be read; repair or replace them.")


def without_augmentation(data: ClassImages) -> ClassImages:
    """Return the images as inference sees them, to score the training split."""
    reader: ImageReader = replace(data.reader, whole=False)
    cached = None if data.reader.whole else data.cached
    return ClassImages(reader, cached=cached, seed=data.seed)
