"""What the processes of a result folder have noted: found again line by line, so that memory holds no rows."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cvkit.files import Input


class _Place(NamedTuple):
    """Where an input's last note stands, when it was written, and whether it tells of a failure."""

    at: int
    file: int
    offset: int
    failed: bool


class Notes:
    """The last note of every input in the ``.cvkit`` folder of a result folder, as it was when this was made."""

    def __init__(self, state: Path) -> None:
        self._files = sorted(state.glob("*.jsonl"))
        self._places: dict[str, _Place] = {}
        for number, path in enumerate(self._files):
            with path.open("rb") as stream:
                offset = 0
                for line in stream:
                    entry = _entry(line)
                    # By the time of the note: the number of shards, and so the file, may have changed in between.
                    if entry is not None:
                        known = self._places.get(entry["input"])
                        if known is None or entry["at"] >= known.at:
                            self._places[entry["input"]] = _Place(entry["at"], number, offset, "kind" in entry)
                    offset += len(line)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def failed(self) -> int:
        """The number of inputs whose last note tells of a failure."""
        return sum(place.failed for place in self._places.values())

    def in_order(self, inputs: Sequence[Input]) -> list[str]:
        """Return the names of all inputs noted: those of ``inputs`` in their order, then the others by name."""
        order = {item.name: place for place, item in enumerate(inputs)}
        return sorted(self._places, key=lambda name: (order.get(name, len(order)), name))

    def entries(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the last note of each name that has one."""
        with ExitStack() as stack:
            open_files: dict[int, BinaryIO] = {}
            for place in map(self._places.get, names):
                if place is None:
                    continue
                if place.file not in open_files:
                    open_files[place.file] = stack.enter_context(self._files[place.file].open("rb"))
                open_files[place.file].seek(place.offset)
                entry = _entry(open_files[place.file].readline())
                if entry is not None:
                    yield entry

    def rows(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the inputs that are done, with what they hold beside the columns of ``results.csv``."""
        for entry in self.entries(names):
            if "kind" not in entry:
                yield from entry.get("rows", [])


def read_rows(folder: Path, inputs: Iterable[Input]) -> Iterator[dict[str, Any]]:
    """Yield the rows of those inputs of a result folder that are done, in the order of ``inputs``."""
    yield from Notes(folder / ".cvkit").rows(item.name for item in inputs)


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return the note of a line; one cut short by a kill is as if it were not there."""
    try:
        entry = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return entry if isinstance(entry, dict) and {"input", "at"} <= entry.keys() else None
