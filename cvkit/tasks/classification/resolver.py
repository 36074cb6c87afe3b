"""Resolve the name of a class (a label, a WordNet id or an index) to the index of the class."""

import re
from collections.abc import Iterable, Mapping, Sequence

from cvkit.errors import DataError, UsageError
from cvkit.messages import did_you_mean, nearest, printable_name

WORDNET_ID = re.compile(r"n\d{8}", re.IGNORECASE)
INDEX = re.compile(r"[+-]?[0-9]+")
MAX_LISTED = 20  # a message lists all labels of a model with up to this many classes
MAX_CANDIDATES = 5  # classes or labels that a message gives as examples


class ClassResolver:
    """The classes of a model under each name that a user may write.

    ``find`` applies these rules in this order; the first rule that matches a class decides:

    1. The exact label. It distinguishes labels that differ only in case, such as "Cardigan" (a dog) and "cardigan".
    2. The index of the class, a whole number from 0.
    3. The WordNet id ("n02123045"), in any case.
    4. The label in any case, with "_" for a space.
    5. One of the comma-separated names of a label, compared as in rule 4: "tabby" is "tabby, tabby cat".

    A name that matches several classes by one rule is an error.
    """

    def __init__(self, labels: Sequence[str], class_ids: Sequence[str], num_classes: int) -> None:
        """Index the names of the classes.

        Args:
            labels: Label of each class, in the order of the classes; empty if unknown.
            class_ids: WordNet id of each class; empty if unknown.
            num_classes: Number of classes, at least 1.

        Raises:
            DataError: If the number of labels or ids differs from ``num_classes``.
        """
        for kind, names in (("labels", labels), ("class ids", class_ids)):
            if names and len(names) != num_classes:
                raise DataError(f"There are {len(names)} {kind} for {num_classes} classes: one per class is needed.")
        self.num_classes = num_classes
        self.has_labels, self.has_ids = bool(labels), bool(class_ids)
        self._names = class_ids or labels
        self._exact = _by_name((label, k) for k, label in enumerate(labels))
        self._ids = _by_name((_normalise(class_id), k) for k, class_id in enumerate(class_ids))
        self._labels = _by_name((_normalise(label), k) for k, label in enumerate(labels))
        self._parts = _by_name((_normalise(part), k) for k, label in enumerate(labels) for part in label.split(","))

    def find(self, name: str) -> int:
        """Return the index of the class that ``name`` stands for.

        Raises:
            DataError: If no class has this name, if several have it, or if it is an index out of range. The message
                does not say where the name was written: the caller adds that.
        """
        if name in self._exact:
            return self._only(name, self._exact[name])
        if INDEX.fullmatch(name.strip()):
            return self.find_index(name)
        normalised = _normalise(name)
        for names in (self._ids, self._labels, self._parts):
            if normalised in names:
                return self._only(name, names[normalised])
        if WORDNET_ID.fullmatch(name):
            return self.find_id(name)
        if not self.has_labels:
            ids = ", the WordNet id" if self.has_ids else ""
            raise DataError(
                f"'{printable_name(name)}' cannot be looked up, because the labels of the model are unknown: use the "
                f"index of the class (0 to {self.num_classes - 1}){ids} or --labels FILE."
            )
        raise DataError(f"the model has no class '{printable_name(name)}'.{self._suggestion(normalised)}")

    def find_index(self, text: str) -> int:
        """Return the class index that ``text`` gives in decimal digits.

        Raises:
            DataError: If ``text`` is not a whole number from 0 to ``num_classes`` - 1.
        """
        if not INDEX.fullmatch(text.strip()):
            raise DataError(f"'{printable_name(text)}' is not a class index (0 to {self.num_classes - 1}).")
        digits = text.strip().lstrip("+-0") or "0"
        negative = text.strip().startswith("-") and digits != "0"
        # The length is compared first: Python refuses to convert thousands of digits.
        if negative or len(digits) > len(str(self.num_classes)) or int(digits) >= self.num_classes:
            raise DataError(f"the class index {printable_name(text)} is out of range (0 to {self.num_classes - 1}).")
        return int(digits)

    def find_id(self, text: str) -> int:
        """Return the index of the class with the WordNet id ``text``.

        Raises:
            DataError: If no class or several classes have this id, or if the ids of the model are unknown.
        """
        if not self.has_ids:
            raise DataError(f"'{printable_name(text)}' cannot be looked up, because the model has no WordNet ids.")
        indices = self._ids.get(_normalise(text), [])
        if not indices:
            advice = "Leave it out, or use a model with this class."
            raise DataError(f"the model has no class with the id '{printable_name(text)}'. {advice}")
        return self._only(text, indices)

    def _only(self, name: str, indices: list[int]) -> int:
        """Return the only index, or raise DataError with the classes that ``name`` may stand for."""
        if len(indices) == 1:
            return indices[0]
        candidates = [f"{index} ({printable_name(self._names[index])})" for index in indices[:MAX_CANDIDATES]]
        more = f" and {len(indices) - MAX_CANDIDATES} more" if len(indices) > MAX_CANDIDATES else ""
        identifier = "index or WordNet id" if self.has_ids else "index"
        raise DataError(
            f"'{printable_name(name)}' is the name of {len(indices)} classes: {', '.join(candidates)}{more}. "
            f"Use the {identifier} of one of them."
        )

    def _suggestion(self, name: str) -> str:
        """Suggest the labels that contain the word, else the nearest name, else all labels if they are few."""
        containing = [f"'{label}'" for label in self._labels if name and name in re.split(r"[\s,]+", label)]
        if containing:
            more = ", ..." if len(containing) > MAX_CANDIDATES else ""
            return f" Did you mean {', '.join(containing[:MAX_CANDIDATES])}{more}?"
        near = nearest(name, {*self._labels, *self._parts})
        return near or (did_you_mean(name, self._labels) if len(self._labels) <= MAX_LISTED else "")


def find_class(name: str, labels: Sequence[str], class_ids: Sequence[str], *, num_classes: int, source: str) -> int:
    """Return the index of the class that an option names.

    Args:
        name: Label, WordNet id or index; see ``ClassResolver`` for the rules.
        labels: Label of each class; empty if unknown.
        class_ids: WordNet id of each class; empty if unknown.
        num_classes: Number of classes.
        source: Option that gives the name, for messages: "--class".

    Raises:
        UsageError: If the name does not identify one class.
    """
    try:
        return ClassResolver(labels, class_ids, num_classes).find(name)
    except DataError as error:
        raise UsageError(f"{source}: {error}") from error


def _by_name(pairs: Iterable[tuple[str, int]]) -> Mapping[str, list[int]]:
    """Collect the distinct class indices of each name; blank names are left out."""
    indices: dict[str, list[int]] = {}
    for name, index in pairs:
        classes = indices.setdefault(name, [])
        if index not in classes[-1:]:
            classes.append(index)
    return {name: classes for name, classes in indices.items() if name.strip()}


def _normalise(name: str) -> str:
    """Return a name in one case, with single spaces in place of "_" and repeated spaces."""
    return " ".join(name.replace("_", " ").split()).casefold()
