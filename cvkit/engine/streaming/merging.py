"""Join the records and files of several result folders, which processes without a common folder have written."""

import contextlib
import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cvkit import files
from cvkit.engine.result_folder import MANIFEST, holds_records, read_manifest
from cvkit.engine.streaming.records import Records, encode
from cvkit.errors import DataError, OutputError
from cvkit.inputs import RESULT_MARK

MERGED = "merged.jsonl"


@dataclass(frozen=True)
class Source:
    """A result folder to merge, with its manifest and its records."""

    folder: Path
    manifest: Mapping[str, Any]
    records: Records

    @property
    def command(self) -> str:
        """Name of the command that wrote the folder."""
        return str(self.manifest.get("command"))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that its results depend on."""
        settings = self.manifest.get("settings")
        return settings if isinstance(settings, dict) else {}

    def entry(self, name: str) -> dict[str, Any] | None:
        """Return the last record of an input, or None if there is none."""
        return next(self.records.entries([name]), None)


@dataclass(frozen=True)
class MergedInput:
    """An input of the merged folder.

    Attributes:
        name: Its name.
        source: Index of the source whose result is taken.
        position: (index of its list of inputs, its index in that list): the order of the merged tables.
        shard: (K, N) of the part that it belongs to, and the number of inputs in its list; None if unknown.
        failed: Whether it has no result in any source.
    """

    name: str
    source: int
    position: tuple[int, int]
    shard: tuple[int, int, int] | None
    failed: bool


def open_source(folder: Path) -> Source:
    """Read the manifest and the records of a result folder.

    Raises:
        DataError: If the folder holds no results of an inference command.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}.")
    manifest = read_manifest(folder)
    if not isinstance(manifest.get("command"), str) or not holds_records(folder):
        raise DataError(
            f"{folder} holds no results of predict, classify or gradcam with their records ({RESULT_MARK})."
        )
    return Source(folder, manifest, Records(folder / RESULT_MARK))


def check_agreement(sources: Sequence[Source]) -> None:
    """Refuse folders of different commands or settings, the SHA-256 of the weights among them.

    Raises:
        DataError: If two folders differ. The message names the first differences.
    """
    first = sources[0]
    for other in sources[1:]:
        if other.command != first.command:
            raise DataError(
                f"{first.folder} and {other.folder} cannot be merged: one holds results of cvkit {first.command}, "
                f"the other of cvkit {other.command}."
            )
        names = [*first.settings, *(name for name in other.settings if name not in first.settings)]
        differences = [
            f"{name} is {first.settings.get(name)} and {other.settings.get(name)}"
            for name in names
            if first.settings.get(name) != other.settings.get(name)
        ]
        if differences:
            raise DataError(
                f"{first.folder} and {other.folder} cannot be merged, because their settings differ: "
                f"{'; '.join(differences)}."
            )


def choose_inputs(sources: Sequence[Source]) -> list[MergedInput]:
    """Return every input of the sources once, in the order of the run that the sources are parts of.

    A result is preferred to a failure. Of two equal results, that of the first source is taken.

    Raises:
        DataError: If two sources have different results of one input, or if two inputs have the same output file.
    """
    lists: dict[str, int] = {}
    chosen: dict[str, MergedInput] = {}
    for number, source in enumerate(sources):
        for place, entry in enumerate(source.records.entries(source.records.in_order(()))):
            item = _merged_input(entry, number, place, lists)
            earlier = chosen.get(item.name)
            if earlier is not None and not earlier.failed:
                if not item.failed:
                    _check_same(sources[earlier.source], source, item.name)
                continue
            chosen[item.name] = item if earlier is None or not item.failed else earlier
    inputs = sorted(chosen.values(), key=lambda item: (item.position, item.name))
    _check_outputs(sources, inputs)
    return inputs


def _merged_input(entry: Mapping[str, Any], source: int, place: int, lists: dict[str, int]) -> MergedInput:
    shard, digest, index, count = (entry.get(name) for name in ("shard", "list", "index", "inputs"))
    failed = "kind" in entry
    if (
        not (isinstance(shard, list) and len(shard) == 2 and isinstance(digest, str))
        or not all(type(value) is int and value >= 0 for value in (*shard, index, count))
        or shard[1] == 0
    ):
        # Records of earlier versions have no list and no position: they keep the order of their folder.
        order = lists.setdefault(f"source {source}", len(lists))
        return MergedInput(entry["input"], source, (order, place), None, failed)
    order = lists.setdefault(digest, len(lists))
    return MergedInput(entry["input"], source, (order, cast(int, index)), (*shard, cast(int, count)), failed)


def _check_same(one: Source, other: Source, name: str) -> None:
    """Raise DataError if two sources have different rows or files for an input."""
    first, second = one.entry(name), other.entry(name)
    if first is None or second is None or first == second:  # a record that was merged before is the same
        return
    same = first["rows"] == second["rows"] and first.get("files", {}) == second.get("files", {})
    with contextlib.suppress(OSError):  # a missing file is reported when it is copied
        same = same and all(
            filecmp.cmp(one.folder / path, other.folder / path, shallow=False) for path in first.get("files", {})
        )
    if not same:
        raise DataError(
            f"{one.folder} and {other.folder} have different results of {name}: "
            "remove the folder whose results are wrong from the command."
        )


def _check_outputs(sources: Sequence[Source], inputs: Iterable[MergedInput]) -> None:
    owners: dict[str, MergedInput] = {}
    for item, entry in _entries(sources, inputs):
        for path in entry.get("files", {}):
            owner = owners.setdefault(path.lower(), item)
            if owner is not item:
                raise DataError(
                    f"{owner.name} in {sources[owner.source].folder} and {item.name} in {sources[item.source].folder} "
                    f"have the same output file {path}: merge them into different folders."
                )


def _entries(sources: Sequence[Source], inputs: Iterable[MergedInput]) -> Iterator[tuple[MergedInput, dict[str, Any]]]:
    """Yield each input with its record."""
    readers: dict[int, Iterator[dict[str, Any]]] = {}
    by_source: dict[int, list[str]] = {}
    ordered = list(inputs)
    for item in ordered:
        by_source.setdefault(item.source, []).append(item.name)
    for number, names in by_source.items():
        readers[number] = sources[number].records.entries(names)
    for item in ordered:
        yield item, next(readers[item.source])


def missing_parts(inputs: Iterable[MergedInput]) -> list[str]:
    """Describe the inputs that are in no source, by the parts of the lists that the sources are from.

    Returns:
        One phrase per incomplete part, such as ``part 2/3 (334 of 334 inputs)``; empty if nothing is missing.
    """
    lists: dict[int, list[MergedInput]] = {}
    for item in inputs:
        if item.shard is not None:
            lists.setdefault(item.position[0], []).append(item)
    missing = []
    for items in lists.values():
        assert items[0].shard is not None
        total = items[0].shard[2]
        present = {item.position[1] for item in items}
        divisions = {item.shard[1] for item in items if item.shard is not None}
        parts = divisions.pop() if len(divisions) == 1 else 1  # parts of different divisions have no common number
        for k in range(1, parts + 1):
            own = range(k - 1, total, parts)
            absent = sum(index not in present for index in own)
            if absent:
                missing.append(f"part {k}/{parts} ({absent} of {len(own)} inputs)")
    return missing


def copy_results(
    sources: Sequence[Source],
    inputs: Sequence[MergedInput],
    folder: Path,
    *,
    link: bool,
    progress: Callable[[int], None],
) -> None:
    """Copy the output files of every input into a folder, and write the records of all inputs there.

    The records are written last. A process that is killed before that copies the files again.

    Args:
        sources: The result folders.
        inputs: The inputs to copy.
        folder: The folder; its own results stay.
        link: Whether to create hard links in place of copies, where the file system can.
        progress: Receives the number of inputs that are copied.

    Raises:
        DataError: If a file of a source is missing or incomplete.
        OutputError: If the folder cannot be written.
    """
    state = folder / RESULT_MARK
    with files.atomic_path(state / MERGED) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for count, (item, entry) in enumerate(_entries(sources, inputs), start=1):
            source = sources[item.source].folder
            for path, size in entry.get("files", {}).items():
                _check_file(source / path, size)
                if not _is_same_folder(source, folder):
                    _copy(source / path, folder / path, link=link)
            stream.write(encode({name: value for name, value in entry.items() if name != "crc"}) + "\n")
            progress(count)
    for path in state.glob("*.jsonl"):
        if path.name != MERGED:
            with files.writing(path):
                path.unlink()


def _check_file(path: Path, size: int) -> None:
    try:
        complete = path.stat().st_size == size
    except OSError:
        complete = False
    if not complete:
        raise DataError(f"{path} is missing or incomplete: run the command that wrote it again, then merge.")


def _copy(source: Path, target: Path, *, link: bool) -> None:
    with files.atomic_path(target, durable=False) as temporary:
        if link:
            temporary.unlink()
            with contextlib.suppress(OSError):  # other file systems and some network file systems
                os.link(source, temporary)
                return
        shutil.copyfile(source, temporary)


def _is_same_folder(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False


def columns_of(sources: Sequence[Source]) -> list[str]:
    """Return the columns of ``results.csv``, from the manifests or, of earlier versions, from the tables.

    Raises:
        OutputError: If no source has them.
    """
    for source in sources:
        columns = source.manifest.get("columns")
        if isinstance(columns, list) and columns and all(isinstance(name, str) for name in columns):
            return columns
    for source in sources:
        with (
            contextlib.suppress(OSError, UnicodeDecodeError),
            (source.folder / "results.csv").open(encoding="utf-8") as table,
        ):
            return table.readline().rstrip("\n").split(",")
    raise OutputError(f"{sources[0].folder / MANIFEST} does not name the columns of results.csv.")
