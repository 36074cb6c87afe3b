"""Match the classes of a data set to those of a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvkit.catalog import Pretrained
from cvkit.errors import DataError
from cvkit.messages import printable_name
from cvkit.tasks.classification.resolver import INDEX, ClassResolver

MAX_NAMED = 10  # classes that a message names
UNMATCHED = -1


@dataclass(frozen=True, kw_only=True)
class MatchedClasses:
    """The classes of a data set as classes of a model.

    Attributes:
        indices: (K,) int64, class of the model for each class of the data; -1 for a class that no image has and that
            the model does not have.
        labels: Label of each class of the model; its index as text if it has no label.
        note: The assumption by which the classes were matched; empty if their names are the model's labels.
    """

    indices: NDArray[np.int64]
    labels: tuple[str, ...]
    note: str = ""


def match_classes(classes: Sequence[str], present: Iterable[int], facts: Pretrained, source: str) -> MatchedClasses:
    """Find the class of the model for each class of a data set.

    A name is a label of the model, one of its comma-separated names, a WordNet id or an index, as in
    ``ClassResolver.find``. If the model has neither labels nor ids, and the names of the data are not indices, both
    must have the same number of classes; then the order of the data is assumed.

    Args:
        classes: Names of the classes of the data.
        present: Indices of the classes that scored images have. The others may be unknown to the model.
        facts: Facts about the model.
        source: The data set, for messages.

    Raises:
        DataError: If a class of a scored image is not a class of the model.
    """
    resolver = ClassResolver(facts.labels, facts.class_ids, facts.num_classes)
    indices = np.full(len(classes), UNMATCHED, dtype=np.int64)
    errors: dict[int, str] = {}
    for number, name in enumerate(classes):
        try:
            indices[number] = resolver.find(name)
        except DataError as error:
            errors[number] = str(error)
    used = sorted(set(present))
    unknown = {classes[number]: errors[number] for number in used if number in errors}
    if not unknown:
        return MatchedClasses(
            indices=indices,
            labels=facts.labels or tuple(map(str, range(facts.num_classes))),
            note=_note_on_indices([classes[number] for number in used], facts, source),
        )
    if facts.labels or facts.class_ids:
        raise DataError(_unknown_classes(unknown, source))
    return _assume_order(classes, facts, source)


def _assume_order(classes: Sequence[str], facts: Pretrained, source: str) -> MatchedClasses:
    """Number the classes in the order of the data, as torchvision and timm number class folders."""
    if len(classes) != facts.num_classes:
        raise DataError(
            f"{source} has {len(classes)} classes, but the model has {facts.num_classes}, whose names are unknown: "
            "name them with --labels FILE."
        )
    listed = ", ".join(f"{k} is {printable_name(name)}" for k, name in enumerate(classes[:MAX_NAMED]))
    return MatchedClasses(
        indices=np.arange(len(classes)),
        labels=tuple(classes),
        note=f"the class names of the model are unknown, so the order of {source} is assumed: {listed}"
        f"{', ...' if len(classes) > MAX_NAMED else ''}. Name the classes with --labels FILE.",
    )


def _note_on_indices(names: Sequence[str], facts: Pretrained, source: str) -> str:
    numbers = [name for name in names if INDEX.fullmatch(name) and name not in facts.labels]
    if not numbers:
        return ""
    listed = ", ".join(numbers[:3]) + (", ..." if len(numbers) > 3 else "")
    return f"the class names {listed} of {source} are taken for class indices of the model, which count from 0"


def _unknown_classes(unknown: Mapping[str, str], source: str) -> str:
    """Return the message about classes of the data that the model does not have, or that are ambiguous."""
    names = list(unknown)
    advice = "Name the classes of the data as the model does, or those of the model with --labels FILE."
    first = f"{unknown[names[0]]} {advice}"
    if len(names) == 1:
        return f"{source}: {first}"
    listed = ", ".join(f"'{printable_name(name)}'" for name in names[:MAX_NAMED])
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{source}: {len(names)} of its classes are not classes of the model: {listed}{more}. The first: {first}"
