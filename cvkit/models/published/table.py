"""List the published weights of all classifiers without importing torch, torchvision or timm.

The list comes from ``entries.json.gz`` beside this module, which ``docs/make_entries.py`` writes. If another version of
a library is installed than the one that the file describes, its weights are read from the library instead.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cvkit.catalog import TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.models.published.libraries import timm_entries, timm_names, torchvision_entries, torchvision_names

DATA = Path(__file__).with_name("entries.json.gz")
LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True, kw_only=True)
class ListedEntry:
    """Published weights without the names of their classes.

    Attributes:
        entry: The facts; ``labels`` and ``class_ids`` are empty.
        labelled: Whether the names of the classes are known.
    """

    entry: Pretrained
    labelled: bool


Listed = Mapping[str, tuple[ListedEntry, ...]]  # the entries of each classifier, the default first


def listed(library: str) -> Listed:
    """Return the entries of all classifiers of "torchvision" or "timm" by name, in the order of the names."""
    table = _read()
    if table.get("versions", {}).get(library) != installed_version(library):
        return from_library(library)
    steps = [_preprocessing(values) for values in table["preprocessing"]]
    return {name: tuple(_entry(name, row, steps) for row in rows) for name, rows in table["libraries"][library].items()}


def from_library(library: str) -> Listed:
    """Return the same as ``listed``, from the library itself."""
    if library == "torchvision":
        named = {name: torchvision_entries(name) for name in torchvision_names()}
    else:
        named = {TIMM_PREFIX + name: timm_entries(name) for name in timm_names(classifiers=True)}
    return {name: tuple(map(without_labels, entries)) for name, entries in named.items() if entries}


def without_labels(entry: Pretrained) -> ListedEntry:
    """Return an entry as the list describes it."""
    return ListedEntry(entry=replace(entry, labels=(), class_ids=()), labelled=bool(entry.labels))


def installed_version(library: str) -> str | None:
    """Return the version of a library without the name of its build ("0.29.0" of "0.29.0+cu130"), None without it."""
    try:
        return version(library).partition("+")[0]
    except PackageNotFoundError:
        return None


def encode(libraries: Mapping[str, Listed]) -> bytes:
    """Return the content of ``entries.json.gz``, the same bytes for the same entries."""
    steps: list[dict[str, Any]] = []

    def row(item: ListedEntry) -> list[Any]:
        entry, own = item.entry, item.entry.preprocessing.as_dict()
        if own not in steps:
            steps.append(own)
        return [
            entry.tag,
            steps.index(own),
            entry.num_classes,
            item.labelled,
            entry.licence,
            entry.file_bytes,
            entry.top1,
            entry.source,
        ]

    tables = {
        library: {name: [row(item) for item in entries] for name, entries in table.items()}
        for library, table in libraries.items()
    }
    content = {
        "versions": {library: installed_version(library) for library in libraries},
        "libraries": tables,
        "preprocessing": steps,
    }
    # No file name and no time in the header.
    return gzip.compress(json.dumps(content, separators=(",", ":")).encode(), compresslevel=9, mtime=0)


def _read() -> dict[str, Any]:
    """Return the content of the data file; {} if it is missing or damaged."""
    try:
        table: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    return table


def _entry(model: str, row: Iterable[Any], steps: list[Preprocessing]) -> ListedEntry:
    tag, step, classes, labelled, licence, size, top1, source = row
    entry = Pretrained(
        model=model,
        tag=tag,
        preprocessing=steps[step],
        num_classes=classes,
        licence=licence,
        file_bytes=size,
        top1=top1,
        source=source,
    )
    return ListedEntry(entry=entry, labelled=labelled)


def _preprocessing(values: dict[str, Any]) -> Preprocessing:
    """Return the steps that JSON, which has no tuples, describes by lists."""
    typed: dict[str, Any] = {name: tuple(part) if isinstance(part, list) else part for name, part in values.items()}
    return Preprocessing(**typed)
