"""Choose the splits of a saliency data set to train on, to validate on, and to score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cvkit.data.splits import (
    TEST,
    TRAIN,
    UNSPLIT,
    VAL,
    choose_scored_split,
    choose_split,
    describe_splits,
    resembled_split,
    show_split,
)
from cvkit.errors import DataError, UsageError
from cvkit.messages import nearest
from cvkit.tasks.saliency.data.layout import Example, Layout


@dataclass(frozen=True)
class TrainingSplits:
    """The examples to train and to validate on.

    Attributes:
        train: The training examples.
        val: The validation examples.
        train_name: Name of the split of the training examples.
        val_name: Name of the split of the validation examples; None if they are held out from the training split.
        unused: Number of images of each other split.
    """

    train: list[Example]
    val: list[Example]
    train_name: str
    val_name: str | None
    unused: dict[str, int]


def train_val_split(
    layout: Layout, val_fraction: float, seed: int, train: str | None = None, val: str | None = None
) -> TrainingSplits:
    """Choose the training and the validation examples.

    Without a split to validate on, a random part of the training images is held out. The test split is never used
    unless it is named.

    Args:
        layout: Files of the data set.
        val_fraction: Fraction of the training images to hold out, from 0 to 1; at least one image is held out.
        seed: Seed of the random choice.
        train: Split to train on; None for train, else the images that belong to no split.
        val: Split to validate on; None for val.

    Raises:
        DataError: If there is no such split or no training image, if there is only one and no validation image, or if a
            split seems to be a misspelt val.
        UsageError: If both are the same split.
    """
    counts = layout.counts()
    train_name = _training_split(layout, train)
    val_name = choose_split(counts, val, layout.root) if val is not None else VAL if VAL in counts else None
    if val_name == train_name:
        raise UsageError(f"--val-split {show_split(train_name)} is the split to train on: name another one.")
    unused = {name: count for name, count in counts.items() if name not in (train_name, val_name)}
    chosen = layout.split(train_name)
    if val_name is not None:
        return TrainingSplits(chosen, layout.split(val_name), train_name, val_name, unused)
    misspelt = next((name for name in unused if resembled_split(name) == VAL), None)
    if misspelt is not None:
        raise DataError(
            f"{layout.root}: there is no split 'val', but '{show_split(misspelt)}': did you mean 'val'? Rename it, or "
            f"add --val-split {show_split(misspelt)} to validate on it. There are: {describe_splits(counts)}."
        )
    if len(chosen) < 2:
        raise DataError(f"{layout.root}: one image only; training and validation need one image each.")
    return TrainingSplits(*_held_out(chosen, val_fraction, seed), train_name, None, unused)


def _training_split(layout: Layout, wanted: str | None) -> str:
    counts = layout.counts()
    if wanted is not None:
        return choose_split(counts, wanted, layout.root)
    for name in (TRAIN, UNSPLIT):
        if name in counts:
            return name
    raise DataError(
        f"{layout.root}: no training images: there is no split 'train'; there are: {describe_splits(counts)}. Name the "
        f"one to train on with --train-split.{nearest(TRAIN, counts)}"
    )


def _held_out(examples: Sequence[Example], fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    order = np.random.default_rng(seed).permutation(len(examples))
    count = min(max(1, round(fraction * len(examples))), len(examples) - 1)
    chosen = set(order[:count].tolist())
    return (
        [replace(example, split=TRAIN) for index, example in enumerate(examples) if index not in chosen],
        [replace(example, split=VAL) for index, example in enumerate(examples) if index in chosen],
    )


def remarks_on_unused(unused: dict[str, int]) -> list[str]:
    """Return a warning for each split that a training leaves out, except for test, which it never uses."""
    remarks = []
    for name, count in unused.items():
        if name != TEST:
            near = resembled_split(name)
            suggestion = f" Did you mean '{near}'?" if near else ""
            remarks.append(f"the split {describe_splits({name: count})} is not used.{suggestion}")
    return remarks


@dataclass(frozen=True)
class ScoredExamples:
    """The examples to score.

    Attributes:
        name: Name of the split; "all" for all images.
        examples: The examples.
        warning: What speaks against scoring them, or how they were chosen; empty if nothing is to be said.
    """

    name: str
    examples: list[Example]
    warning: str = ""


def evaluation_examples(layout: Layout, split: str | None) -> ScoredExamples:
    """Choose the examples to score, by ``choose_scored_split``.

    Args:
        layout: Files of the data set.
        split: Name of a split, or "all"; None for the default.

    Raises:
        DataError: If there is no such split, or if it is not named and several are possible.
    """
    chosen = choose_scored_split(layout.counts(), split, layout.root)
    examples = [example for example in layout.examples if example.split in chosen.splits]
    return ScoredExamples(chosen.name, examples, chosen.warning)
