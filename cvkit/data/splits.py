"""Name, list and choose the splits of a data set."""

import difflib
from collections.abc import Iterable, Mapping

from cvkit.errors import DataError
from cvkit.messages import counted, nearest, printable_name

TRAIN, VAL, TEST = STANDARD = ("train", "val", "test")
UNSPLIT = ""  # name of the split of images that belong to none
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
