"""Read the true classes of images from a CSV file or from the names of their folders."""

import csv
import io
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cvkit.errors import DataError
from cvkit.inputs import Input
from cvkit.messages import printable_name
from cvkit.tasks.classification.resolver import ClassResolver

FOLDERS = "folders"
# Columns that name the class, in order of precedence: the first one that is not empty in a row decides.
COLUMNS = ("class_index", "class_id", "wnid", "label")
REQUIRED = "needs the columns image and one of class_index, class_id (or wnid), label"


class Truth(ABC):
    """The true classes of images."""

    @abstractmethod
    def class_of(self, item: Input) -> int | None:
        """Return the index of the true class of an image, None if the source does not contain the image.

        Raises:
            DataError: If the source does not identify one class for the image.
        """


def read_truth(source: str, labels: Sequence[str], class_ids: Sequence[str], num_classes: int) -> Truth:
    """Read the true classes of images.

    A CSV file has the column image and one or more of class_index, class_id (or wnid) and label. A cell of the column
    label and the name of a folder may be anything that ``ClassResolver.find`` accepts: a label, one of its
    comma-separated names, a WordNet id or an index.

    Args:
        source: "folders" if each image lies in a folder named after its class, else the path of a CSV file.
        labels: Label of each class; empty if unknown.
        class_ids: WordNet id of each class; empty if unknown.
        num_classes: Number of classes.

    Returns:
        The true classes, by image.

    Raises:
        DataError: If the file cannot be read or a row does not identify one class (the message names file and line),
            or if the number of labels or ids differs from ``num_classes``.
    """
    resolver = ClassResolver(labels, class_ids, num_classes)
    return _FolderTruth(resolver=resolver) if source == FOLDERS else _read_csv(Path(source), resolver)


@dataclass(frozen=True, kw_only=True)
class _FolderTruth(Truth):
    """The true classes by the folders of the images.

    Attributes:
        resolver: Classes of the model.
        cache: Class index of each folder name, or the error message. Suggesting a similar label takes milliseconds.
    """

    resolver: ClassResolver
    cache: dict[str, int | str] = field(default_factory=dict)

    def class_of(self, item: Input) -> int:
        # A folder that cannot be searched stands for the images in it.
        folder = item.path if item.is_folder else item.path.parent
        name = folder.name
        if name in ("", ".."):  # the path is relative to the working directory
            name = folder.resolve().name
        if name not in self.cache:
            try:
                self.cache[name] = self.resolver.find(name)
            except DataError as error:
                self.cache[name] = f"the folder '{printable_name(name)}' is not named after one class: {error}"
        if isinstance(answer := self.cache[name], str):
            raise DataError(answer)
        return answer


class _Row(NamedTuple):
    class_index: int
    line: int


@dataclass(frozen=True, kw_only=True)
class _TableTruth(Truth):
    """The true classes by the rows of a CSV file.

    Attributes:
        path: The CSV file.
        by_path: Row of each path as written in the file.
        by_suffix: Rows of each path suffix that contains a folder; two rows if their classes differ.
    """

    path: Path
    by_path: Mapping[str, _Row]
    by_suffix: Mapping[str, tuple[_Row, ...]]

    def class_of(self, item: Input) -> int | None:
        written = _normalise_path(str(item.path))
        if written in self.by_path:
            return self.by_path[written].class_index
        for suffix in _suffixes(_normalise_path(str(item.path.absolute()))):
            # A row that consists of this suffix alone matches completely, so it precedes rows that only end with it.
            if suffix in self.by_path:
                return self.by_path[suffix].class_index
            rows = self.by_suffix.get(suffix, ())
            if len(rows) > 1:
                lines = " and ".join(f"line {row.line} (class {row.class_index})" for row in rows)
                raise DataError(
                    f"{self.path}: {lines} match {printable_name(item.name)}: write more of its path in the file."
                )
            if rows:
                return rows[0].class_index
        return None


def _read_csv(path: Path, resolver: ClassResolver) -> _TableTruth:
    rows = _records(path)
    header_line, header = next(rows, (1, []))
    columns = _find_columns(f"{path}: line {header_line}", [name.strip().lower() for name in header], resolver)
    image = columns.pop("image")
    by_path: dict[str, _Row] = {}
    # Files of 100,000 rows name few distinct classes.
    finders = {"class_index": resolver.find_index, "label": resolver.find}
    find = cache(lambda column, text: finders.get(column, resolver.find_id)(text))
    for line, cells in rows:
        try:
            if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
                raise DataError(f"has {len(cells)} of {len(header)} columns; a cell with a comma needs quotes.")
            name = _normalise_path(cells[image].strip())
            if not name:
                raise DataError("the column image is empty.")
            row = _Row(class_index=_class_of_row(cells, columns, find), line=line)
            earlier = by_path.setdefault(name, row)
            if earlier.class_index != row.class_index:
                advice = "correct one" if "/" in name else "write more of its path (folder/name)"
                classes = f"class {row.class_index} here and class {earlier.class_index} in line {earlier.line}"
                raise DataError(f"{printable_name(name)} is {classes}: {advice}.")
        except DataError as error:
            raise DataError(f"{path}: line {line}: {error}") from error
    if not by_path:
        raise DataError(f"{path}: line {header_line} is the header, and no row follows it.")
    return _TableTruth(path=path, by_path=by_path, by_suffix=_index_suffixes(by_path))


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row of a CSV file that is not blank, including the header."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        advice = f"give a CSV file, or '{FOLDERS}' to use the names of the images' folders"
        raise DataError(f"{path}: {error.strerror or error}; {advice}.") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 text; save it as CSV in UTF-8.") from error
    if not text.strip():
        raise DataError(f"{path}: line 1: the file is empty; it {REQUIRED}.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        hint = "look for an unpaired quotation mark in this line and above"
        raise DataError(f"{path}: line {reader.line_num}: damaged CSV ({error}); {hint}.") from error


def _find_columns(where: str, header: list[str], resolver: ClassResolver) -> dict[str, int]:
    """Return the position of the column image and of each usable class column, in order of precedence."""
    for name in ("image", *COLUMNS):
        if header.count(name) > 1:
            raise DataError(f"{where}: the column {name} occurs twice.")
    present = [name for name in COLUMNS if name in header]
    if "image" not in header or not present:
        columns = printable_name(", ".join(header) or "none", 200)
        raise DataError(f"{where}: the file {REQUIRED}, separated by commas; its columns are {columns}.")
    usable = {
        "class_index": True,
        "class_id": resolver.has_ids,
        "wnid": resolver.has_ids,
        "label": resolver.has_labels,
    }
    used = [name for name in present if usable[name]]
    if not used:
        advice = _other_columns(present[-1], resolver)
        raise DataError(f"{where}: the class is given by {' and '.join(present)} only, but {advice}.")
    return {name: header.index(name) for name in ("image", *used)}


def _other_columns(column: str, resolver: ClassResolver) -> str:
    """Return the reason why a column cannot be used, and the columns that can."""
    more = " or class_id" if resolver.has_ids else " or label" if resolver.has_labels else ""
    kind, option = ("labels", " (or give them with --labels FILE)") if column == "label" else ("class ids", "")
    return f"the {kind} of the model are unknown: use class_index{more}{option}"


def _class_of_row(cells: list[str], columns: Mapping[str, int], find: Callable[[str, str], int]) -> int:
    """Return the index of the class that a row names.

    ``columns`` has the position of each class column; ``find`` resolves a cell of a column.
    """
    chosen: tuple[str, str, int] | None = None
    for column, position in columns.items():
        text = cells[position].strip()
        # Lists of labels differ in wording, so a label is not compared with an index or an id in the same row.
        if not text or (chosen and column == "label"):
            continue
        index = find(column, text)
        if chosen and chosen[2] != index:
            pair = f"{chosen[0]} {printable_name(chosen[1])} and {column} {printable_name(text)}"
            raise DataError(f"{pair} contradict each other: the latter is class {index}; correct one.")
        chosen = chosen or (column, text, index)
    if not chosen:
        raise DataError(f"names no class ({' and '.join(columns)} empty).")
    return chosen[2]


def _index_suffixes(by_path: Mapping[str, _Row]) -> dict[str, tuple[_Row, ...]]:
    """Return the rows by each suffix of their path that contains a folder."""
    by_suffix: dict[str, tuple[_Row, ...]] = {}
    for path, row in by_path.items():
        for suffix in _suffixes(path):
            rows = by_suffix.get(suffix, ())
            # The file name alone does not match if the row has a folder: train/1.jpg is not val/1.jpg.
            if "/" in suffix and (not rows or (len(rows) == 1 and rows[0].class_index != row.class_index)):
                by_suffix[suffix] = (*rows, row)
    return by_suffix


def _suffixes(path: str) -> Iterator[str]:
    """Yield ``a/b/c``, ``b/c``, ``c``."""
    while path:
        yield path
        path = path.partition("/")[2]


def _normalise_path(path: str) -> str:
    """Return a path with forward slashes, without ``.`` and repeated slashes."""
    path = path.replace("\\", "/")
    return posixpath.normpath(path) if "./" in path or "//" in path else path
