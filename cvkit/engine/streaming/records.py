"""Read the records that the processes of a command append to a result folder, without holding the rows in memory."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cvkit.inputs import RESULT_MARK, Input


class _Location(NamedTuple):
    """The file and offset of an input's last record, its time in nanoseconds, and whether it is a failure."""

    at: int
    file: int
    offset: int
    failed: bool


class Records:
    """The last record of every input in the ``.cvkit`` folder of a result folder, at the time of construction."""

    def __init__(self, state: Path) -> None:
        self._files = sorted(state.glob("*.jsonl"))
        self._locations: dict[str, _Location] = {}
        for number, path in enumerate(self._files):
            with path.open("rb") as stream:
                offset = 0
                for line in stream:
                    entry = _parse(line)
                    # The time decides, because the number of shards, and so the file, may have changed in between.
                    if entry is not None:
                        earlier = self._locations.get(entry["input"])
                        if earlier is None or entry["at"] >= earlier.at:
                            self._locations[entry["input"]] = _Location(entry["at"], number, offset, "kind" in entry)
                    offset += len(line)

    def __len__(self) -> int:
        return len(self._locations)

    @property
    def failed(self) -> int:
        """The number of inputs whose last record is a failure."""
        return sum(location.failed for location in self._locations.values())

    def in_order(self, inputs: Sequence[Input]) -> list[str]:
        """Return the names of all recorded inputs: those of ``inputs`` in their order, then the others by name."""
        order = {item.name: position for position, item in enumerate(inputs)}
        return sorted(self._locations, key=lambda name: (order.get(name, len(order)), name))

    def entries(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the last record of each name that has one."""
        with ExitStack() as stack:
            open_files: dict[int, BinaryIO] = {}
            for location in map(self._locations.get, names):
                if location is None:
                    continue
                if location.file not in open_files:
                    open_files[location.file] = stack.enter_context(self._files[location.file].open("rb"))
                open_files[location.file].seek(location.offset)
                entry = _parse(open_files[location.file].readline())
                if entry is not None:
                    yield entry

    def rows(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the inputs that succeeded, with all recorded values, also those not in ``results.csv``."""
        for entry in self.entries(names):
            if "kind" not in entry:
                yield from entry.get("rows", [])


def read_rows(folder: Path, inputs: Iterable[Input]) -> Iterator[dict[str, Any]]:
    """Yield the rows of those inputs that succeeded in a result folder, in the order of ``inputs``."""
    yield from Records(folder / RESULT_MARK).rows(item.name for item in inputs)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None for a line that a killed process left incomplete."""
    try:
        entry = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return entry if isinstance(entry, dict) and {"input", "at"} <= entry.keys() else None
