"""Divide labelled images into training, validation and test images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvkit.data.splits import STANDARD, TEST, TRAIN, VAL, describe_splits
from cvkit.errors import DataError, UsageError
from cvkit.messages import counted, printable_name
from cvkit.tasks.classification.data.source import LabelledImages, LabelledSource

DEFAULT = (90.0, 10.0)  # per cent of training and validation images


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The images of a run.

    Attributes:
        images: Training, validation and, perhaps, test images by the name of the split.
        remarks: Sentences about the split.
    """

    images: dict[str, LabelledImages]
    remarks: tuple[str, ...] = ()


def split_images(source: LabelledSource, percentages: Sequence[float] | None, limit: int | None, seed: int) -> Splits:
    """Return the splits of the data, and draw those that it lacks at random within each class.

    Args:
        source: The data.
        percentages: Per cent of training, validation and, optionally, test images, for data without validation images;
            None for 90 and 10.
        limit: Largest number of images of each split; None for all.
        seed: Seed of the draw.

    Raises:
        DataError: If there are no training images, fewer than two classes, a class without training images, or no image
            left to validate on.
        UsageError: If ``percentages`` are given for data that has the splits already.
    """
    images = dict(source.splits)
    counts = {name: len(part) for name, part in images.items()}
    if TRAIN not in images:
        raise DataError(f"{source.name}: there is no split train; there are: {describe_splits(counts)}.")
    others = [name for name in images if name not in STANDARD]
    remarks = [f"not used: {describe_splits({name: counts[name] for name in others})}"] if others else []
    images = {name: images[name] for name in STANDARD if name in images}
    if percentages is not None and (VAL in images or (TEST in images and len(percentages) == 3)):
        listed = " and ".join(images)
        raise UsageError(f"--split: {source.name} has the splits {listed} already; leave --split out.")
    if VAL not in images:
        chosen = percentages or DEFAULT
        names = STANDARD[: len(chosen)]
        groups = stratified(images[TRAIN].labels, chosen, seed)
        drawn = {name: images[TRAIN].subset(group) for name, group in zip(names, groups, strict=True)}
        images |= drawn
        if percentages is None:
            remarks.append(f"no split val: {counted(len(images[VAL]), 'training image')} held out for validation")
    images = {name: _limited(images[name], limit, seed) for name in STANDARD if name in images}
    _check(source, images, limit)
    return Splits(images=images, remarks=(*remarks, *_missing_in_validation(source, images)))


def stratified(labels: NDArray[np.int64], percentages: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Divide images at random, each class in the same proportions.

    Of every class the first group keeps at least one image, and every other group gets the nearest whole number of
    images.

    Args:
        labels: (N,) class of each image.
        percentages: Per cent of each group; they add up to 100.
        seed: Seed of the order.

    Returns:
        The indices of each group, ascending.
    """
    groups: list[list[int]] = [[] for _ in percentages]
    for label in np.unique(labels):
        members = np.random.default_rng((seed, int(label))).permutation(np.flatnonzero(labels == label))
        # From the end, so that the first group keeps what rounding leaves.
        for group, percentage in zip(groups[:0:-1], percentages[:0:-1], strict=True):
            count = min(len(members) - 1, round(np.count_nonzero(labels == label) * percentage / 100))
            group += members[:count].tolist()
            members = members[count:]
        groups[0] += members.tolist()
    return [np.array(sorted(group), dtype=np.int64) for group in groups]


def _limited(images: LabelledImages, limit: int | None, seed: int) -> LabelledImages:
    """Return at most ``limit`` images, drawn at random, because images are sorted by class."""
    if limit is None or limit >= len(images):
        return images
    return images.subset(np.sort(np.random.default_rng(seed).permutation(len(images))[:limit]))


def _check(source: LabelledSource, images: dict[str, LabelledImages], limit: int | None) -> None:
    more = " or raise --limit" if limit is not None else ""
    if len(source.classes) < 2:
        raise DataError(
            f"{source.name}: there is one class only ({printable_name(source.classes[0])}); a classifier needs two or "
            "more."
        )
    for name, part in images.items():
        if not len(part):
            raise DataError(
                f"{source.name}: there is no {name} image; each class needs more images, or a larger part in --split."
            )
    present = {name: set(part.labels.tolist()) for name, part in images.items()}
    if len(present[TRAIN]) < 2:
        only = printable_name(source.classes[min(present[TRAIN])])
        raise DataError(
            f"{source.name}: all training images are of one class ({only}); a classifier needs two or more: add images "
            f"of other classes{more}."
        )
    missing = sorted(set().union(*present.values()) - present[TRAIN])
    if missing:
        where = next(name for name, labels in present.items() if missing[0] in labels)
        raise DataError(
            f"{source.name}: the class {printable_name(source.classes[missing[0]])} has {where} images but no training "
            f"image: add some, leave the class out{more}."
        )


def _missing_in_validation(source: LabelledSource, images: dict[str, LabelledImages]) -> list[str]:
    missing = sorted(set(images[TRAIN].labels.tolist()) - set(images[VAL].labels.tolist()))
    if not missing:
        return []
    named = ", ".join(source.classes[label] for label in missing[:3]) + (", ..." if len(missing) > 3 else "")
    return [f"no validation image of {len(missing)} of {len(source.classes)} classes, which are not scored: {named}"]
