"""Read and write the records that the processes of a command append to a result folder.

A record is one line of JSON that ends in its CRC-32. Reading keeps the positions of the records in memory, without
the rows.
"""

import json
import time
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from cvkit.inputs import Input

MAX_LINE_BYTES = 64 << 20  # a longer line is damaged: the 1,000 classes of one image take 0.2 MB
MAX_CLOCK_ERROR_NS = 86_400 * 10**9  # a record from further in the future is damaged, and would hide all later ones
CHECKSUM = b', "crc": '


class Records:
    """The last record of every input in the ``.cvkit`` folder of a result folder.

    The records are those at the time of construction, or of the last call of ``read_new``.

    Attributes:
        damaged: Number of lines that hold no valid record, without those that a killed process left incomplete.
        kept: The selected values of each record by the name of the input.
    """

    def __init__(self, state: Path, keep: Sequence[str] = ()) -> None:
        """Read the records.

        Args:
            state: The folder.
            keep: Names of the values to keep in memory.
        """
        self._state = state
        self._files: list[Path] = []
        self._read: list[int] = []  # bytes of each file that have been read
        # Arrays take a third of the memory that an object per input takes.
        self._numbers: dict[str, int] = {}  # index of each input in the arrays
        self._times, self._offsets = array("q"), array("q")  # time in nanoseconds, and offset in its file
        self._file_numbers, self._failures = array("L"), bytearray()
        self.damaged = 0
        self.kept: dict[str, dict[str, Any]] = {}
        self.read_new(keep)

    def read_new(self, keep: Sequence[str] = ()) -> None:
        """Read the records that were appended since the last reading, by any process.

        Args:
            keep: As in the constructor.
        """
        new = sorted(set(self._state.glob("*.jsonl")) - set(self._files))
        self._files += new
        self._read += [0] * len(new)
        for number, path in enumerate(self._files):
            with path.open("rb") as stream:
                for offset, line in _lines(stream, self._read[number]):
                    if line.endswith(b"\n"):  # another process may still be writing a line without an end
                        self._read[number] = offset + len(line)
                    self._take(line, number, offset, keep)

    def _take(self, line: bytes, file: int, offset: int, keep: Sequence[str]) -> None:
        entry = decode(line)
        if entry is None:
            self.damaged += _is_damaged(line)
        elif self._add(entry, file, offset) and keep:
            self.kept[entry["input"]] = {name: entry[name] for name in keep if name in entry}

    def _add(self, entry: Mapping[str, Any], file: int, offset: int) -> bool:
        """Keep the position of a record, and return whether it is the last one of its input so far."""
        name, at = entry["input"], entry["at"]
        index = self._numbers.setdefault(name, len(self._numbers))
        if index == len(self._times):
            self._times.append(at)
            self._offsets.append(offset)
            self._file_numbers.append(file)
            self._failures.append("kind" in entry)
            return True
        # The time decides, because the number of shards, and so the file, may have changed in between.
        if at < self._times[index]:
            return False
        self._times[index], self._offsets[index], self._file_numbers[index] = at, offset, file
        self._failures[index] = "kind" in entry
        return True

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def failed(self) -> int:
        """The number of inputs whose last record is a failure."""
        return sum(self._failures)

    def in_order(self, inputs: Sequence[Input]) -> list[str]:
        """Return the names of all recorded inputs: those of ``inputs`` in their order, then the others by name."""
        names = [item.name for item in inputs if item.name in self._numbers]
        others = self._numbers.keys() - set(names) if len(names) < len(self) else ()
        return [*names, *sorted(others)]

    def entries(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the last record of each name that has one."""
        with ExitStack() as stack:
            open_files: dict[int, BinaryIO] = {}
            for index in map(self._numbers.get, names):
                if index is None:
                    continue
                file = self._file_numbers[index]
                if file not in open_files:
                    open_files[file] = stack.enter_context(self._files[file].open("rb"))
                open_files[file].seek(self._offsets[index])
                # The structure of the record was checked when its position was read.
                entry = _parse(open_files[file].readline(MAX_LINE_BYTES))
                if entry is not None:
                    yield entry

    def rows(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the inputs that succeeded, with all recorded values, also those not in ``results.csv``."""
        for entry in self.entries(names):
            if "kind" not in entry:
                yield from entry.get("rows", [])


def encode(entry: Mapping[str, Any]) -> str:
    """Return the line of a record with its checksum, without a line break.

    The line is ASCII, so that a file name that is not UTF-8 survives as escapes.
    """
    body = json.dumps(entry)[:-1]
    return f"{body}{CHECKSUM.decode()}{zlib.crc32(body.encode())}}}"


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None if the line is incomplete or damaged.

    Lines of earlier versions of cvkit have no checksum.
    """
    entry = _parse(line)
    return entry if _is_record(entry) else None


def _parse(line: bytes) -> Any:
    """Return the JSON document of a line, or None if its checksum does not match or it is no JSON."""
    body, mark, checksum = line.rstrip().rpartition(CHECKSUM)
    if mark and checksum != b"%d}" % zlib.crc32(body):
        return None
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):  # no JSON, an integer of too many digits, or thousands of brackets
        return None


def _lines(stream: BinaryIO, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the content of each line from an offset on; of a line that is too long, its parts."""
    stream.seek(offset)
    while line := stream.readline(MAX_LINE_BYTES):
        yield offset, line
        offset += len(line)


def _is_damaged(line: bytes) -> bool:
    """Return whether a line without a valid record is more than the beginning of one, or the end of such a line."""
    return bool(line.strip()) and not (line.startswith(b'{"input"') and not line.rstrip().endswith(b"}"))


_TYPES = {"input": str, "stem": str, "kind": str, "message": str, "rows": list, "files": dict, "stamp": list}


def _is_record(entry: Any) -> bool:
    """Return whether a JSON document is a record. Hundred thousands are checked, so the checks are plain loops."""
    if not isinstance(entry, dict):
        return False
    for name, kind in _TYPES.items():
        if name in entry and not isinstance(entry[name], kind):
            return False
    at = entry.get("at")
    if "input" not in entry or type(at) is not int or abs(at) > time.time_ns() + MAX_CLOCK_ERROR_NS:
        return False
    rows = entry.get("rows", ())
    if not (rows or "kind" in entry):
        return False
    for row in rows:
        if not isinstance(row, dict):
            return False
    return all(type(size) is int and _is_inside(name) for name, size in entry.get("files", {}).items())


def _is_inside(name: str) -> bool:
    """Return whether a recorded path leads to a file inside the result folder."""
    if name.startswith("/") or "\0" in name:
        return False
    parts = name.split("/")
    return ".." not in parts and any(part not in ("", ".") for part in parts)
