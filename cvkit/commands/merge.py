"""Join the result folders of parts that were computed on different machines."""

import contextlib
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cvkit
from cvkit import files
from cvkit.config import MergeConfig
from cvkit.config.classification import TABLE_FORMATS
from cvkit.engine.locks import locked
from cvkit.engine.parquet import need_parquet
from cvkit.engine.result_folder import MANIFEST, claim_folder, holds_records, mark_as_result, read_manifest
from cvkit.engine.streaming.merging import (
    MergedInput,
    Source,
    check_agreement,
    choose_inputs,
    columns_of,
    copy_results,
    missing_parts,
    open_source,
)
from cvkit.engine.streaming.parts import claim_part, ledger_lock
from cvkit.engine.streaming.records import Records
from cvkit.engine.streaming.tables import ReportWriter, Rows, write_tables
from cvkit.errors import DataError
from cvkit.inputs import RESULT_MARK
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks.attribution.reports import write_mean_scores
from cvkit.tasks.classification.reports import PER_CLASS_FILE, ClassReports, write_class_reports

OUTCOME = ("counts", "seconds", "longest_seconds", "sources")  # entries of a manifest that a merge writes anew


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """The result of a merge.

    Attributes:
        folder: The merged result folder.
        command: The command whose results it holds.
        inputs: Number of inputs in it.
        done: Number of inputs with results.
        failed: Number of inputs that failed.
        missing: Incomplete parts, with the numbers of their missing inputs.
    """

    folder: Path
    command: str
    inputs: int
    done: int
    failed: int
    missing: list[str]


def merge(config: MergeConfig, report: Reporter = ignore) -> MergeResult:
    """Join result folders of one command and one set of settings, as one process would have written them.

    Raises:
        DataError: If the folders do not fit together, or inputs are missing without ``allow_missing``.
        OutputError: If the folder to write holds other files, or the disk is full.
    """
    folder = Path(config.out)
    sources = _open_sources(config, folder)
    check_agreement(sources)
    inputs = choose_inputs(sources)
    missing = missing_parts(inputs)
    if missing and not config.allow_missing:
        raise DataError(f"inputs are missing: {', '.join(missing)}. Merge their folders too, or add --allow-missing.")
    if missing:
        report(Note(f"inputs are missing: {', '.join(missing)}", level="warning"))
    _claim(folder, sources[0])
    part = claim_part(folder, (1, 1))
    try:
        counts = _write(config, sources, inputs, report)
    finally:
        part.release()
    return MergeResult(folder=folder, command=sources[0].command, missing=missing, **counts)


def _open_sources(config: MergeConfig, folder: Path) -> list[Source]:
    """Open the folders to merge, each once; results that the folder to write holds already are the first source."""
    names = [Path(name) for name in config.folders]
    if folder.is_dir() and holds_records(folder) and read_manifest(folder):
        names.insert(0, folder)
    unique = {name.resolve(): name for name in reversed(names)}
    return [open_source(name) for name in reversed(unique.values())]


def _claim(folder: Path, source: Source) -> None:
    """Create the folder with a manifest that marks it as begun, or check that it has the same settings."""
    manifest = read_manifest(folder) if folder.is_dir() else {}
    head = {"command": source.command, "settings": source.settings}
    ours = {name: manifest.get(name) for name in head} == head
    claim_folder(folder, "results" if ours else None, reuse=ours)
    mark_as_result(folder)
    if not manifest:
        files.write_json(folder / MANIFEST, {**head, "cvkit": cvkit.__version__})


def _write(
    config: MergeConfig, sources: Sequence[Source], inputs: Sequence[MergedInput], report: Reporter
) -> dict[str, int]:
    folder = Path(config.out)
    details = _details(sources)
    columns = columns_of(sources)
    writer = _report_writer(folder, sources, details.get("reports"))
    began = time.time()
    report(Stage("merging", len(inputs)))
    copy_results(sources, inputs, folder, link=config.link, progress=lambda done: report(Step(done)))
    report(StageEnd())
    with locked(ledger_lock(folder / RESULT_MARK)):
        records = Records(folder / RESULT_MARK)
        counts = write_tables(folder, columns, records, [item.name for item in inputs], writer)
        head = {"command": sources[0].command, "settings": sources[0].settings, "columns": columns}
        outcome = {"counts": counts, **_origin(sources, folder), "merge_seconds": round(time.time() - began, 3)}
        files.write_json(folder / MANIFEST, {**head, "cvkit": cvkit.__version__, **details, **outcome})
    return counts


def _details(sources: Sequence[Source]) -> dict[str, Any]:
    """Return the facts about model and device in the manifest of the first source that has them."""
    fixed = {"command", "settings", "columns", "cvkit", *OUTCOME, "merge_seconds"}
    for source in sources:
        details = {name: value for name, value in source.manifest.items() if name not in fixed}
        if details:
            return details
    return {}


def _origin(sources: Sequence[Source], folder: Path) -> dict[str, Any]:
    """Return the durations of the sources, and what is known of each; of a merged folder, those of its own sources."""
    origins: dict[str, dict[str, Any]] = {}
    for source in sources:
        earlier = source.manifest.get("sources")
        facts = {name: source.manifest.get(name) for name in ("counts", "seconds", "device", "versions")}
        own = {"folder": str(source.folder), **facts}
        known = earlier if isinstance(earlier, list) else [] if source.folder.samefile(folder) else [own]
        origins |= {str(each.get("folder")): each for each in known if isinstance(each, dict)}
    seconds = [each["seconds"] for each in origins.values() if isinstance(each.get("seconds"), int | float)]
    return {
        "seconds": round(sum(seconds), 3),
        "longest_seconds": max(seconds, default=0.0),
        "sources": list(origins.values()),
    }


def _report_writer(folder: Path, sources: Sequence[Source], reports: Any) -> ReportWriter:
    """Return the function that writes the further reports of the command, as one run with the same options does."""
    options = reports if isinstance(reports, dict) else {}
    if sources[0].command == "classify":
        truth, kind = options.get("truth"), options.get("format")
        choice = ClassReports(
            format=kind if kind in TABLE_FORMATS else "csv",
            truth=truth if isinstance(truth, str) else None,
            per_class=options.get("per_class") is True,
        )
        if choice.format == "parquet":
            need_parquet()
        tables = [source.folder for source in sources]
        return lambda rows: write_class_reports(folder, rows, choice, _ClassNames(tables, rows))
    if sources[0].command == "gradcam" and options.get("faithfulness"):
        return lambda rows: write_mean_scores(folder, rows)
    return lambda _: None


class _ClassNames:
    """The names of classes, from the rows of the predictions and from the reports of the sources."""

    def __init__(self, folders: Sequence[Path], rows: Rows) -> None:
        self._names: dict[int, dict[str, Any]] = {}
        for folder in folders:
            if (folder / PER_CLASS_FILE).is_file():
                with (folder / PER_CLASS_FILE).open(encoding="utf-8", newline="") as stream:
                    for row in csv.DictReader(stream):
                        with contextlib.suppress(
                            KeyError, TypeError, ValueError
                        ):  # a damaged table names fewer classes
                            self._add({**row, "class_index": int(row["class_index"])})
        for row in rows():
            self._add(row)

    def _add(self, row: Mapping[str, Any]) -> None:
        names = {name: row[name] for name in ("class_index", "class_id", "label")}
        self._names.setdefault(names["class_index"], names)

    def __call__(self, index: int) -> dict[str, Any]:
        return self._names.get(index, {"class_index": index, "class_id": "", "label": ""})
