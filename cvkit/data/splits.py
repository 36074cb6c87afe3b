"""Name, list and choose the splits of a data set."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cvkit.errors import DataError
from cvkit.messages import counted, nearest, printable_name

TRAIN, VAL, TEST = STANDARD = ("train", "val", "test")
UNSPLIT = ""  # name of the split of images that belong to none
EVERY = "all"  # word for all images of a data set
OTHER_WORDS = {"training": TRAIN, "valid": VAL, "validation": VAL, "testing": TEST}
RESEMBLANCE = 0.75  # of difflib: one letter more, less, or exchanged in a word of three or more letters


def canonical_split(word: str) -> str:
    """Return the name of a split from the name of its folder or its value in a manifest.

    Args:
        word: The name. Upper and lower case of the standard words are the same.

    Returns:
        "train", "val" or "test" for these words and their other forms ("training", "valid", "validation", "testing");
        any other word unchanged.
    """
    lower = word.lower()
    return lower if lower in STANDARD else OTHER_WORDS.get(lower, word)


def is_standard_split(word: str) -> bool:
    """Return whether a word is one of train, val and test, or another form of them."""
    return canonical_split(word) in STANDARD


def order_splits(names: Iterable[str]) -> list[str]:
    """Return the names of splits in the order train, val, test, others by name, images without a split."""
    rank = {name: number for number, name in enumerate(STANDARD)}
    return sorted(set(names), key=lambda name: (name == UNSPLIT, rank.get(name, len(rank)), name))


def describe_splits(available: Mapping[str, int]) -> str:
    """Return the splits with their numbers of images, such as ``train (12 images), holdout (4 images)``."""
    described = [f"{show_split(name)} ({counted(available[name], 'image')})" for name in order_splits(available)]
    return ", ".join(described) or "none"


def show_split(name: str) -> str:
    """Return the name of a split for messages."""
    return "(no split)" if name == UNSPLIT else printable_name(name)


def choose_split(available: Mapping[str, int], wanted: str, source: object) -> str:
    """Return the name of the split that a user asks for.

    Args:
        available: Number of images of each split by its name.
        wanted: The name as the user wrote it. Case is ignored if no split has this very name and only one has it in
            another case.
        source: The data set, for the message.

    Raises:
        DataError: If there is no such split. The message lists the splits, and suggests the nearest one.
    """
    for name in (wanted, canonical_split(wanted)):
        if name in available:
            return name
    alike = [name for name in available if name.lower() == wanted.lower()]
    if len(alike) == 1:
        return alike[0]
    suggestion = nearest(wanted, filter(None, available))
    raise DataError(
        f"{source}: there is no split '{printable_name(wanted)}'; there are: {describe_splits(available)}.{suggestion}"
    )


def resembled_split(word: str) -> str | None:
    """Return the standard split that a name probably means, such as "val" for "vall"; None if it resembles none.

    The standard words themselves resemble nothing.
    """
    if is_standard_split(word):
        return None
    near = difflib.get_close_matches(word.lower(), [*STANDARD, *OTHER_WORDS], n=1, cutoff=RESEMBLANCE)
    return canonical_split(near[0]) if near else None


@dataclass(frozen=True)
class ScoredSplit:
    """The images of a data set to score.

    Attributes:
        name: Name of the split for messages; "all" for all images.
        splits: Names of the splits whose images are scored.
        warning: What speaks against scoring them, or how they were chosen; empty if nothing is to be said.
    """

    name: str
    splits: tuple[str, ...]
    warning: str = ""


def choose_scored_split(available: Mapping[str, int], wanted: str | None, source: object) -> ScoredSplit:
    """Choose the images to score.

    Args:
        available: Number of images of each split by its name.
        wanted: Name of a split, or "all". None for val, else test, else the only split besides train, else the only
            one.
        source: The data set, for messages.

    Raises:
        DataError: If there is no such split, or if it is not named and several are possible.
    """
    if wanted == EVERY:
        return ScoredSplit(EVERY, tuple(available), _on_training_images(available[TRAIN]) if TRAIN in available else "")
    if wanted is not None:
        name = choose_split(available, wanted, source)
        return ScoredSplit(show_split(name), (name,), _on_training_images(available[name]) if name == TRAIN else "")
    for name in (VAL, TEST):
        if name in available:
            return ScoredSplit(name, (name,))
    return _without_val_and_test(available, source)


def _without_val_and_test(available: Mapping[str, int], source: object) -> ScoredSplit:
    others = [name for name in available if name != TRAIN]
    if not others:
        return ScoredSplit(TRAIN, (TRAIN,), f"no val or test split: {_on_training_images(available[TRAIN])}")
    if others == [UNSPLIT] == list(available):
        text = "no val or test split: all images are scored, including those a model was trained on"
        return ScoredSplit(EVERY, (UNSPLIT,), text)
    if len(others) == 1 and UNSPLIT not in others:
        name = others[0]
        text = f"no val or test split: the split {describe_splits({name: available[name]})} is scored, the only one"
        return ScoredSplit(name, (name,), text + (" besides train" if TRAIN in available else ""))
    raise DataError(
        f"{source}: there is no split 'val' or 'test'; there are: {describe_splits(available)}. Name the one to score "
        "with --split, or all."
    )


def _on_training_images(count: int) -> str:
    return (
        f"the scores include {counted(count, 'training image')}: a model scores better on images that it was trained on"
    )
