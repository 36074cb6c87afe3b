"""Read class labels from a file, and find the class that a word means."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cvkit.errors import DataError

Labels = tuple[tuple[str, ...], tuple[str, ...]]

_WORDNET_LINE = re.compile(r"(n\d{8})[\s,]+(\S.*)")
_LABEL_COLUMNS = ("label", "name")
_INDEX_COLUMNS = ("class_index",)
_ID_COLUMNS = ("class_id", "wnid")


def load_labels(path: str | Path) -> Labels:
    """Return the labels and the class ids (() where the file has none) of a ``--labels`` file, by class index.

    Text has one label a line (or a WordNet id and a label, as in ImageNet's synset lists). CSV and TSV have a column
    label or name, and may have class_index and class_id (or wnid). JSON is a list of labels, {index: label} or
    {index: [WordNet id, label]}. UTF-8. Raises DataError for a file that is missing or damaged, or in which labels or
    indices are missing or occur twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"--labels {path}: it is not text in UTF-8.") from error
    except OSError as error:
        raise DataError(f"--labels {path} cannot be read ({error.strerror or error}).") from error
    read: dict[str, Callable[[str, str], Labels]] = {
        ".json": _from_json,
        ".csv": lambda text, where: _from_table(text, where, ","),
        ".tsv": lambda text, where: _from_table(text, where, "\t"),
    }
    where = f"--labels {path}"
    labels, ids = read.get(path.suffix.lower(), _from_lines)(text, where)
    if not labels:
        raise DataError(f"{where}: it names no classes.")
    for what, words in (("label", labels), ("class id", ids)):
        if "" in words:
            raise DataError(f"{where}: class {words.index('')} has no {what}.")
    if len(set(ids)) < len(ids):
        raise DataError(f"{where}: the class id {_first_twice(ids)} occurs twice.")
    return labels, ids


def _from_lines(text: str, where: str) -> Labels:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise DataError(f"{where}: line {lines.index('') + 1} is empty; each line is the label of one class.")
    if "\0" in text:
        raise DataError(f"{where}: it is not a text file.")
    split = [_WORDNET_LINE.fullmatch(line) for line in lines]
    found = [match.groups() for match in split if match]
    if lines and len(found) == len(lines):
        return tuple(label for _, label in found), tuple(wordnet_id for wordnet_id, _ in found)
    return tuple(lines), ()


def _from_table(text: str, where: str, delimiter: str) -> Labels:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{where} cannot be read as a table ({error}).") from error
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    header = [name.lower() for name in rows[0]] if rows else []
    label, index, class_id = (_column(header, names) for names in (_LABEL_COLUMNS, _INDEX_COLUMNS, _ID_COLUMNS))
    if label is None:
        raise DataError(f"{where}: its first line names no column 'label' or 'name' (found: {', '.join(header)}).")
    body = rows[1:]
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {number} has {len(row)} cells, the header has {len(header)}.")
    order = _in_order([row[index] for row in body], where) if index is not None else range(len(body))
    labels = tuple(body[k][label] for k in order)
    return labels, tuple(body[k][class_id] for k in order) if class_id is not None else ()


def _column(header: list[str], names: Iterable[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _from_json(text: str, where: str) -> Labels:
    def pairs(items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return items  # a dict would keep the last of two equal indices and tell nobody

    try:
        found = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} cannot be read as JSON ({error}).") from error
    values: list[Any] = found if isinstance(found, list) else [None]
    if values and all(isinstance(item, tuple) for item in values):
        values = [values[k][1] for k in _in_order([key for key, _ in values], where)]
    if all(isinstance(value, str) for value in values):
        return tuple(value.strip() for value in values), ()
    if all(isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value) for value in values):
        return tuple(value[1].strip() for value in values), tuple(value[0].strip() for value in values)
    raise DataError(f"{where}: a list of labels, {{index: label}} or {{index: [WordNet id, label]}} is needed.")


def _in_order(indices: Sequence[str], where: str) -> list[int]:
    """Return the positions of the indices 0, 1, 2, ... in the file."""
    place: dict[int, int] = {}
    for position, index in enumerate(indices):
        if not re.fullmatch(r"[0-9]{1,9}", index):
            raise DataError(f"{where}: '{index}' is not the index of a class (0, 1, 2, ...).")
        if int(index) in place:
            raise DataError(f"{where}: the class index {int(index)} occurs twice.")
        place[int(index)] = position
    missing = sorted(set(range(len(place))) - place.keys())
    if missing:
        raise DataError(f"{where}: the class index {missing[0]} is missing (the largest is {max(place)}).")
    return [place[index] for index in range(len(place))]


def _first_twice(words: Sequence[str]) -> str:
    return next(word for place, word in enumerate(words) if word in words[:place])
