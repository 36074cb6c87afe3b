"""Read and check the training and validation images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvkit.config import TrainSaliencyConfig
from cvkit.engine.run_folder import DATA_DIGEST
from cvkit.errors import DataError
from cvkit.processes import cpu_count
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.saliency.data.dataset import Prepared, Problems, SaliencyDataset, SampleSpec, prepare
from cvkit.tasks.saliency.data.digests import digest_all, equal_images
from cvkit.tasks.saliency.data.layout import Example, Layout, read_layout
from cvkit.tasks.saliency.data.selection import TrainingSplits, remarks_on_unused, train_val_split


@dataclass(frozen=True)
class TrainingData:
    """The training and validation images.

    Attributes:
        train: The training images.
        val: The validation images.
        problems: Number of files that were left out.
        sha256: SHA-256 of the files of both splits in their order.
    """

    train: SaliencyDataset
    val: SaliencyDataset
    problems: int
    sha256: str

    def identity(self) -> dict[str, Any]:
        """Return what a resumed run compares: the number of images of each split, and the digest of all files."""
        return {"train": len(self.train), "val": len(self.val), DATA_DIGEST: self.sha256}


@dataclass(frozen=True)
class DataFiles:
    """The files of a data set with the splits to use, before any image is read."""

    layout: Layout
    splits: TrainingSplits


def find_data(config: TrainSaliencyConfig) -> DataFiles:
    """Find the files of the data set and choose the splits.

    Raises:
        DataError: If there is no data set, or it lacks a split.
        UsageError: If the same split is for training and for validation.
    """
    layout = read_layout(Path(config.data), (config.train_split, config.val_split))
    splits = train_val_split(layout, config.val_fraction, config.seed, config.train_split, config.val_split)
    return DataFiles(layout, splits)


def read_data(config: TrainSaliencyConfig, files: DataFiles, size: tuple[int, int], report: Reporter) -> TrainingData:
    """Read every file once, so that problems show before the training starts.

    Args:
        config: The settings.
        files: The files of the data set.
        size: (height, width) of the network's input in pixels.
        report: Receives progress events, and a warning per kind of problem and per split that is not used.

    Raises:
        DataError: If no training or no validation image can be used, or with ``strict`` if any file has a problem.
    """
    spec = SampleSpec(size=size, sigma_px=config.sigma_px, max_pixels=config.max_pixels)
    problems = Problems(dict(files.layout.unpaired))
    for remark in remarks_on_unused(files.splits.unused):
        report(Note(remark, "warning"))
    parts = []
    for name, part in (("training", files.splits.train), ("validation", files.splits.val)):
        prepared = _prepare(config, part[: config.limit], spec, f"reading {name} images", report)
        problems.merge(prepared.problems)
        parts.append(prepared)
    for line in problems.lines():
        report(Note(f"left out, {line}", "warning"))
    if config.strict and problems.count():
        raise DataError(f"{problems.count()} problems in the data, and --strict is set: {problems.first()}")
    train, val = parts
    for name, prepared in (("training", train), ("validation", val)):
        if not prepared.examples:
            raise DataError(f"{config.data}: no usable {name} image is left: {problems.first()}")
    _report_equal_images(train, val, report)
    return TrainingData(
        SaliencyDataset(train.examples, spec, cached=train.cached, augmentation=config.augment, seed=config.seed),
        SaliencyDataset(val.examples, spec, cached=val.cached),
        problems.count(),
        digest_all([*train.digests, *val.digests]),
    )


def _report_equal_images(train: Prepared, val: Prepared, report: Reporter) -> None:
    """Report images that are in both splits, because validation scores of such images are too good."""
    pairs = equal_images((train.examples, val.examples), (train.digests, val.digests))
    if pairs:
        listed = "; ".join(f"{first} and {second}" for first, second in pairs[:3]) + ("; ..." if len(pairs) > 3 else "")
        count = "1 image is" if len(pairs) == 1 else f"{len(pairs)} images are"
        report(Note(f"{count} in both training and validation, which makes the scores too good: {listed}", "warning"))


def _prepare(
    config: TrainSaliencyConfig, examples: list[Example], spec: SampleSpec, title: str, report: Reporter
) -> Prepared:
    report(Stage(title, len(examples)))
    prepared = prepare(examples, spec, config.cache, cpu_count(), lambda done: report(Step(done)))
    report(StageEnd())
    return prepared
