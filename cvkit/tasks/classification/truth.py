"""The true classes of images, by the folders they lie in or by a CSV file."""

import csv
import io
import posixpath
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cvkit.errors import DataError, did_you_mean, nearest
from cvkit.inputs import Input

FOLDERS = "folders"
CLASS_COLUMNS = ("class_index", "class_id", "wnid", "label")  # the first that a row fills wins
NEEDED = "needs the columns image and one of class_index, class_id (or wnid), label"
FEW = 20  # so many labels are listed when none is near; a thousand are not
WORDNET_ID = re.compile(r"n\d{8}")


class Truth(ABC):
    """What is known of the true classes of images."""

    @abstractmethod
    def of(self, item: Input) -> int | None:
        """Return the index of an image's true class, None when nothing is said of it. Raises DataError when unclear."""


def read_truth(source: str, labels: Sequence[str], class_ids: Sequence[str], num_classes: int) -> Truth:
    """Return the truth of ``source``: "folders" (an image lies in a folder named like its class) or a CSV file.

    A folder is named by WordNet id, label or class index; the file has a column image and class_index, class_id (or
    wnid) or label. ``labels`` and ``class_ids`` are those of the ``num_classes`` classes, empty where unknown. Raises
    DataError naming the file and the line.
    """
    classes = _Classes.of(labels, class_ids, num_classes)
    return _Folders(classes=classes) if source == FOLDERS else _read_csv(Path(source), classes)


@dataclass(frozen=True, kw_only=True)
class _Classes:
    """The classes of a network under each of their names; one name can mean several."""

    count: int
    ids: Mapping[str, list[int]]
    exact: Mapping[str, list[int]]
    labels: Mapping[str, list[int]]
    names: Sequence[str]  # the id of each class, where there are any

    @classmethod
    def of(cls, labels: Sequence[str], class_ids: Sequence[str], count: int) -> "_Classes":
        for what, given in (("labels", labels), ("class ids", class_ids)):
            if given and len(given) != count:
                raise DataError(f"There are {len(given)} {what} for {count} classes: one for each is needed.")
        return cls(
            count=count,
            ids=_places([_folded(word) for word in class_ids]),
            exact=_places(labels),
            labels=_places([_folded(word) for word in labels]),
            names=class_ids,
        )

    def find(self, column: str, word: str) -> int:
        """Return the class that a cell of a column means."""
        return {"class_index": self._by_index, "label": self._by_label}.get(column, self._by_id)(word)

    def find_any(self, word: str) -> int:
        """Return the class that a folder's name means. Labels that are numbers themselves go before indices."""
        if _folded(word) in self.ids:
            return self._by_id(word)
        if _folded(word) in self.labels:
            return self._by_label(word)
        if re.fullmatch(r"[0-9]+", word) or not (self.ids or self.labels):
            return self._by_index(word)
        return self._by_label(word) if self.labels and not WORDNET_ID.fullmatch(word) else self._by_id(word)

    def _by_index(self, word: str) -> int:
        if not re.fullmatch(r"-?[0-9]+", word):
            more = "" if self.labels or self.ids else f", and {self.lacking('label')}"
            raise DataError(f"'{_shown(word)}' is no class index (0..{self.count - 1}){more}.")
        digits = word.lstrip("0") or "0"
        if len(digits) > len(str(self.count)) or not 0 <= int(digits) < self.count:
            raise DataError(f"the class index {_shown(word)} is out of range 0..{self.count - 1}.")
        return int(digits)

    def _by_id(self, word: str) -> int:
        hint = " Leave it out, or take a network that has this class."
        return self._only(word, self.ids.get(_folded(word), []), "class id", hint)

    def _by_label(self, word: str) -> int:
        # The exact spelling decides between labels that differ in case: Cardigan (a dog) and cardigan.
        exact = self.exact.get(word, [])
        found = exact if len(exact) == 1 else self.labels.get(_folded(word), [])
        hint = ""
        if word.isdigit() or WORDNET_ID.fullmatch(word):
            hint = f" It belongs in a column {'class_index' if word.isdigit() else 'class_id'}."
        elif not found:
            hint = (did_you_mean if len(self.labels) <= FEW else nearest)(_folded(word), self.labels)
        return self._only(word, found, "label", hint)

    def _only(self, word: str, found: list[int], kind: str, hint: str) -> int:
        if not found:
            raise DataError(f"'{_shown(word)}' is no {kind} of this network.{hint}")
        if len(found) > 1:
            ids = [self.names[index] for index in found] if self.names and kind == "label" else []
            advice = f"class_id ({' or '.join(ids)}) or " if ids else ""
            indices = " or ".join(str(index) for index in found)
            raise DataError(
                f"'{_shown(word)}' is the {kind} of {len(found)} classes: use {advice}class_index ({indices}) instead."
            )
        return found[0]

    def lacking(self, column: str) -> str:
        """Return why a column cannot be used, and what can."""
        more = " or class_id" if self.ids else " or label" if self.labels else ""
        what, way = ("labels", " (or give them with --labels FILE)") if column == "label" else ("class ids", "")
        return f"the {what} of this network are unknown{way}: only class_index{more} works"


@dataclass(frozen=True, kw_only=True)
class _Folders(Truth):
    classes: _Classes
    # The answer for each folder's name, or what is wrong with it: looking for a near label takes a while.
    known: dict[str, int | str] = field(default_factory=dict)

    def of(self, item: Input) -> int:
        name = item.path.parent.name
        if name in ("", ".."):  # written relative to where the command runs
            name = item.path.parent.resolve().name
        if name not in self.known:
            try:
                self.known[name] = self.classes.find_any(name)
            except DataError as error:
                self.known[name] = f"Folder '{_shown(name)}' must name one class by WordNet id, label or index: {error}"
        if isinstance(answer := self.known[name], str):
            raise DataError(answer)
        return answer


class _Row(NamedTuple):
    class_index: int
    line: int


@dataclass(frozen=True, kw_only=True)
class _Rows(Truth):
    """``whole`` has each row by its path as written, ``tails`` by its ends; two rows where their classes differ."""

    path: Path
    whole: Mapping[str, _Row]
    tails: Mapping[str, tuple[_Row, ...]]

    def of(self, item: Input) -> int | None:
        written = _written(str(item.path))
        if written in self.whole:
            return self.whole[written].class_index
        for tail in _tails(_written(str(item.path.absolute()))):
            # A row that is this tail and no more says nothing against the rest of the path: it goes first.
            if tail in self.whole:
                return self.whole[tail].class_index
            found = self.tails.get(tail, ())
            if len(found) > 1:
                lines = " and ".join(f"line {row.line} (class {row.class_index})" for row in found)
                raise DataError(f"{self.path}: {lines} fit {_shown(item.name)}: write more of its path in the file.")
            if found:
                return found[0].class_index
        return None


def _read_csv(path: Path, classes: _Classes) -> _Rows:
    rows = _records(path)
    header_line, header = next(rows, (1, []))
    columns = _columns(f"{path}: line {header_line}", [name.strip().lower() for name in header], classes)
    image = columns.pop("image")
    whole: dict[str, _Row] = {}
    find = cache(classes.find)  # few classes, many rows
    for line, cells in rows:
        try:
            if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
                raise DataError(f"has {len(cells)} of {len(header)} columns; a cell with a comma needs quotes.")
            name = _written(cells[image].strip())
            if not name:
                raise DataError("the column image is empty.")
            row = _Row(class_index=_class_of(cells, columns, find), line=line)
            earlier = whole.setdefault(name, row)
            if earlier.class_index != row.class_index:
                advice = "correct one" if "/" in name else "write more of its path (folder/name)"
                classes_of_it = f"class {row.class_index} here and class {earlier.class_index} in line {earlier.line}"
                raise DataError(f"{_shown(name)} is {classes_of_it}: {advice}.")
        except DataError as error:
            raise DataError(f"{path}: line {line}: {error}") from error
    if not whole:
        raise DataError(f"{path}: line {header_line} names the columns, and no image follows it.")
    return _Rows(path=path, whole=whole, tails=_shared_tails(whole))


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row of a CSV file that is not blank, the header included."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        way_out = f"give a CSV file, or '{FOLDERS}' to go by the images' folders"
        raise DataError(f"{path}: {error.strerror or error}; {way_out}.") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 text; save it as CSV in UTF-8.") from error
    if not text.strip():
        raise DataError(f"{path}: line 1: the file is empty; it {NEEDED}.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        hint = "look there and above for a quotation mark without its partner"
        raise DataError(f"{path}: line {reader.line_num}: damaged CSV ({error}); {hint}.") from error


def _columns(where: str, header: list[str], classes: _Classes) -> dict[str, int]:
    """Return the place of each column that can be used: image, then those of the class, the one that wins first."""
    for name in ("image", *CLASS_COLUMNS):
        if header.count(name) > 1:
            raise DataError(f"{where}: the column {name} is there twice.")
    there = [name for name in CLASS_COLUMNS if name in header]
    if "image" not in header or not there:
        raise DataError(
            f"{where}: {NEEDED}, separated by commas; it has {_shown(', '.join(header) or 'none', most=200)}."
        )
    usable = {"class_index": True, "class_id": classes.ids, "wnid": classes.ids, "label": classes.labels}
    used = [name for name in there if usable[name]]
    if not used:
        raise DataError(f"{where}: has {' and '.join(there)}, and {classes.lacking(there[-1])}.")
    return {name: header.index(name) for name in ("image", *used)}


def _class_of(cells: list[str], columns: Mapping[str, int], find: Callable[[str, str], int]) -> int:
    """Return the class that a row names."""
    chosen: tuple[str, str, int] | None = None
    for column, place in columns.items():
        word = cells[place].strip()
        # Labels are prose, and other lists word them otherwise: beside an index or an id they prove nothing.
        if not word or (chosen and column == "label"):
            continue
        index = find(column, word)
        if chosen and chosen[2] != index:
            pair = f"{chosen[0]} {_shown(chosen[1])} and {column} {_shown(word)}"
            raise DataError(f"{pair} contradict each other: the latter is class {index}; correct one.")
        chosen = chosen or (column, word, index)
    if not chosen:
        raise DataError(f"names no class ({' and '.join(columns)} empty).")
    return chosen[2]


def _shared_tails(whole: Mapping[str, _Row]) -> dict[str, tuple[_Row, ...]]:
    """Return the rows by the ends of their paths, two folders' files of one name kept apart by the folder."""
    tails: dict[str, tuple[_Row, ...]] = {}
    for path, row in whole.items():
        for tail in _tails(path):
            found = tails.get(tail, ())
            # A name alone is not enough where the file gives a folder: train/1.jpg says nothing of val/1.jpg.
            if "/" in tail and (not found or (len(found) == 1 and found[0].class_index != row.class_index)):
                tails[tail] = (*found, row)
    return tails


def _tails(path: str) -> Iterator[str]:
    """Yield ``a/b/c``, ``b/c``, ``c``."""
    while path:
        yield path
        path = path.partition("/")[2]


def _written(path: str) -> str:
    """Return a path with slashes, without ``.`` and repeated slashes, so that spellings of one path are one."""
    path = path.replace("\\", "/")
    return posixpath.normpath(path) if "./" in path or "//" in path else path


def _places(words: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for index, word in enumerate(words):
        places.setdefault(word, []).append(index)
    return {word: found for word, found in places.items() if word.strip()}


def _folded(word: str) -> str:
    return " ".join(word.replace("_", " ").casefold().split())


def _shown(text: str, most: int = 80) -> str:
    """Return a user's text fit for one line of a message."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= most else f"{text[:most]}..."
