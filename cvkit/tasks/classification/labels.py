"""Read the labels and the ids of classes from a file."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cvkit.errors import DataError

Labels = tuple[tuple[str, ...], tuple[str, ...]]  # labels and ids, in the order of the classes

MAX_BYTES = 2**26  # 21,841 classes of ImageNet-22k take one megabyte
_WORDNET_LINE = re.compile(r"(n\d{8})[\s,]+(\S.*)")
_LABEL_COLUMNS = ("label", "name")
_INDEX_COLUMNS = ("class_index",)
_ID_COLUMNS = ("class_id", "wnid")


def load_labels(path: str | Path) -> Labels:
    """Read the file of the option ``--labels``.

    Args:
        path: UTF-8 file in one of these formats, by its suffix. ``.csv`` and ``.tsv``: a table with a column label or
            name, and optionally class_index and class_id (or wnid). ``.json``: a list of labels, {index: label} or
            {index: [WordNet id, label]}. Any other: one label per line, or one WordNet id and label per line as in
            ImageNet's synset lists.

    Returns:
        The labels and the ids of the classes, both in the order of the class indices. The ids are () if the file has
        none.

    Raises:
        DataError: If the file cannot be read, or if a label, id or index is missing or an id or index occurs twice.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"--labels {path}: the file has more than {MAX_BYTES >> 20} MB, so it names no classes.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"--labels {path}: the file is not UTF-8 text.") from error
    except OSError as error:
        raise DataError(f"--labels {path} cannot be read ({error.strerror or error}).") from error
    parsers: dict[str, Callable[[str, str], Labels]] = {
        ".json": _parse_json,
        ".csv": lambda text, where: _parse_table(text, where, ","),
        ".tsv": lambda text, where: _parse_table(text, where, "\t"),
    }
    where = f"--labels {path}"
    labels, ids = parsers.get(path.suffix.lower(), _parse_lines)(text, where)
    if not labels:
        raise DataError(f"{where}: the file names no classes.")
    for kind, names in (("label", labels), ("class id", ids)):
        if "" in names:
            raise DataError(f"{where}: class {names.index('')} has no {kind}.")
    if len(set(ids)) < len(ids):
        raise DataError(f"{where}: the class id {_first_duplicate(ids)} occurs twice.")
    return labels, ids


def _parse_lines(text: str, where: str) -> Labels:
    # Not splitlines, which also splits at characters that a label may hold, such as U+2028.
    lines = [line.strip() for line in io.StringIO(text.rstrip(), newline=None)]
    if "" in lines:
        raise DataError(f"{where}: line {lines.index('') + 1} is empty; each line is the label of one class.")
    if "\0" in text:
        raise DataError(f"{where}: the file is not a text file.")
    matches = [_WORDNET_LINE.fullmatch(line) for line in lines]
    pairs = [match.groups() for match in matches if match]
    if lines and len(pairs) == len(lines):
        return tuple(label for _, label in pairs), tuple(wordnet_id for wordnet_id, _ in pairs)
    return tuple(lines), ()


def _parse_table(text: str, where: str, delimiter: str) -> Labels:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{where} cannot be read as a table ({error}).") from error
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    header = [name.lower() for name in rows[0]] if rows else []
    label, index, class_id = (_column(header, names) for names in (_LABEL_COLUMNS, _INDEX_COLUMNS, _ID_COLUMNS))
    if label is None:
        raise DataError(f"{where}: the first line has no column 'label' or 'name' (columns: {', '.join(header)}).")
    body = rows[1:]
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {number} has {len(row)} cells, the header has {len(header)}.")
    order = _in_order([row[index] for row in body], where) if index is not None else range(len(body))
    labels = tuple(body[k][label] for k in order)
    return labels, tuple(body[k][class_id] for k in order) if class_id is not None else ()


def _column(header: list[str], names: Iterable[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _parse_json(text: str, where: str) -> Labels:
    def pairs(items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return items  # a dict would keep only the last of two equal indices

    try:
        content = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} cannot be read as JSON ({error}).") from error
    values: list[Any] = content if isinstance(content, list) else [None]
    if values and all(isinstance(item, tuple) for item in values):
        values = [values[k][1] for k in _in_order([key for key, _ in values], where)]
    if all(isinstance(value, str) for value in values):
        return tuple(value.strip() for value in values), ()
    if all(isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value) for value in values):
        return tuple(value[1].strip() for value in values), tuple(value[0].strip() for value in values)
    raise DataError(f"{where}: the file must be a list of labels, {{index: label}} or {{index: [WordNet id, label]}}.")


def _in_order(indices: Sequence[str], where: str) -> list[int]:
    """Return the positions of the indices 0, 1, 2, ... in the file."""
    positions: dict[int, int] = {}
    for position, index in enumerate(indices):
        if not re.fullmatch(r"[0-9]{1,9}", index):
            raise DataError(f"{where}: '{index}' is not the index of a class (0, 1, 2, ...).")
        if int(index) in positions:
            raise DataError(f"{where}: the class index {int(index)} occurs twice.")
        positions[int(index)] = position
    missing = sorted(set(range(len(positions))) - positions.keys())
    if missing:
        raise DataError(f"{where}: the class index {missing[0]} is missing (the largest is {max(positions)}).")
    return [positions[index] for index in range(len(positions))]


def _first_duplicate(names: Sequence[str]) -> str:
    return next(name for position, name in enumerate(names) if name in names[:position])
