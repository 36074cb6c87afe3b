"""Record which inputs succeeded or failed, so that a rerun continues where the last one stopped.

Every process appends to its own file (``.cvkit/K-of-N.jsonl``). ``results.csv``, ``failures.csv`` and
``manifest.json`` are written from all of these files, so job arrays and several processes can share one folder.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cvkit
from cvkit.engine.locks import locked
from cvkit.engine.result_folder import (
    MANIFEST,
    check_links,
    claim_folder,
    differing_settings,
    holds_something,
    read_manifest,
)
from cvkit.engine.streaming.parts import claim_part, ledger_lock, list_digest
from cvkit.engine.streaming.records import Records, encode
from cvkit.engine.streaming.tables import ReportWriter, write_tables
from cvkit.errors import OutputError
from cvkit.files import make_folder, write_json, writing
from cvkit.inputs import RESULT_MARK, Input, folders_of


@dataclass(frozen=True)
class Counts:
    """The numbers of inputs of a run.

    Attributes:
        inputs: All inputs.
        skipped: Inputs that an earlier run completed.
        done: Inputs that this run completed.
        failed: Inputs that failed in this run.
    """

    inputs: int
    skipped: int
    done: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """The inputs that one process sends into a result folder.

    Attributes:
        command: Name of the command.
        folder: The result folder.
        inputs: The inputs of all processes.
        identity: The settings that the results depend on. A folder holds results of one set of them.
        columns: Columns of ``results.csv``; the first one holds the name of the input.
        details: Further entries of the manifest.
        shard: (K, N): this process does every N-th input, from the K-th.
        overwrite: Whether to redo inputs that are complete.
    """

    command: str
    folder: Path
    inputs: Sequence[Input]
    identity: Mapping[str, Any]
    columns: Sequence[str]
    details: Mapping[str, Any] = field(default_factory=dict)
    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False


class Ledger:
    """The record of a result folder for one process, as a context manager.

    Attributes:
        work: The inputs and the folder.
        damaged: Number of damaged lines in the records of earlier runs. Their inputs are processed again.
        records: The records of the folder.
    """

    def __init__(self, work: Work) -> None:
        """Open the result folder and find out which inputs are left to do.

        Raises:
            OutputError: If the folder must not be written (``claim_folder``, ``check_links``), if a result of another
                input would be replaced, or if another process is writing the same part.
        """
        self.work = work
        self.began = time.time()
        self.done = self.failed = self.damaged = 0
        self._lock = threading.Lock()
        self._state = work.folder / RESULT_MARK
        self._folder = str(work.folder)
        self._manifest = work.folder / MANIFEST
        self._open_folder()
        self._part = claim_part(work.folder, work.shard)
        try:
            self._open_records()
        except BaseException:
            self._part.release()
            raise

    def _open_records(self) -> None:
        self.records = Records(self._state, keep=("kind", "stem", "stamp", "files"))
        self.damaged = self.records.damaged
        recorded = self.records.kept
        self._check_stems(recorded)
        k, n = self.work.shard
        self._own = list(self.work.inputs)[k - 1 :: n]
        self._list = {"shard": [k, n], "inputs": len(self.work.inputs), "list": list_digest(self.work.inputs)}
        self._index = {item.name: k - 1 + n * position for position, item in enumerate(self._own)}
        self._todo = [item for item in self._own if self.work.overwrite or not self._is_complete(item, recorded)]
        recorded.clear()
        self._file = self._state / f"{k}-of-{n}.jsonl"
        with writing(self._file):
            self._stream = self._file.open("a", encoding="utf-8")
            self._stream.write("\n")  # ends a line that a killed process left incomplete

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            with writing(self._file):
                self._stream.close()
        finally:
            self._part.release()

    @property
    def todo(self) -> list[Input]:
        """The inputs of this process that are not complete."""
        return self._todo

    def record_done(self, item: Input, rows: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> None:
        """Record that an input succeeded.

        Args:
            item: The input.
            rows: Its rows of ``results.csv``, which may have further values.
            files: The files that were written for it.
        """
        sizes = {path.relative_to(self.work.folder).as_posix(): path.stat().st_size for path in files}
        self._append(item, {"rows": list(rows), "files": sizes, "stamp": _stamp(item.path)})
        self.done += 1

    def record_failure(self, item: Input, kind: str, message: str) -> None:
        """Record that an input failed. The next run tries it again."""
        self._append(item, {"kind": kind, "message": message})
        self.failed += 1

    def finish(self, write_reports: ReportWriter = lambda _: None) -> Counts:
        """Write the reports of the folder from the records of all processes. One process at a time does so.

        Args:
            write_reports: Writes further reports, see ``write_tables``.

        Returns:
            The counts of this process.
        """
        with writing(self._file):
            self._stream.flush()
        with locked(ledger_lock(self._state)):
            # Read inside the lock, so that the last process sees the records of all the others.
            self.records.read_new()
            names = self.records.in_order(self.work.inputs)
            counts = write_tables(self.work.folder, self.work.columns, self.records, names, write_reports)
            self._write_manifest({"counts": counts, "seconds": round(time.time() - self.began, 3)})
        return Counts(
            inputs=len(self._own), skipped=len(self._own) - len(self._todo), done=self.done, failed=self.failed
        )

    def _append(self, item: Input, entry: dict[str, Any]) -> None:
        head = {"input": item.name, "stem": item.stem, "at": time.time_ns(), "index": self._index[item.name]}
        line = encode({**head, **self._list, **entry})
        with self._lock, writing(self._file):
            self._stream.write(line + "\n")
            self._stream.flush()

    def _is_complete(self, item: Input, recorded: Mapping[str, Mapping[str, Any]]) -> bool:
        """Return whether an input succeeded, has not changed since, and all its files have their full size."""
        entry = recorded.get(item.name)
        if entry is None or "kind" in entry or entry.get("stamp") != _stamp(item.path):
            return False
        try:
            sizes = entry.get("files", {}).items()
            return all(os.stat(f"{self._folder}/{name}").st_size == size for name, size in sizes)  # noqa: PTH116 (half the time)
        except OSError:
            return False

    def _open_folder(self) -> None:
        """Claim the folder, and write its manifest before anything else, so that no results are without settings."""
        if not self._state.is_dir():
            self._claim_folder()  # before a file is created in a folder that belongs to something else
        check_links(self.work.folder, folders_of(item.stem for item in self.work.inputs))
        make_folder(self._state)
        with locked(ledger_lock(self._state)):
            self._claim_folder()
            if not self._manifest.exists():
                self._write_manifest({})

    def _claim_folder(self) -> None:
        folder = self.work.folder
        # In this order: another process of this command that creates the folder writes the manifest first.
        if not folder.is_dir() or not holds_something(folder):
            make_folder(folder)
            return
        manifest = read_manifest(folder)
        differences = differing_settings(manifest, self.work.identity) if manifest else []
        own = "results" if manifest.get("command") == self.work.command else None
        claim_folder(folder, own, differences=differences, reuse=not differences)

    def _check_stems(self, recorded: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse to write two inputs to one file: a stem belongs to the input that was recorded first."""
        owners = {entry.get("stem", "").lower(): name for name, entry in recorded.items() if entry.get("files")}
        for item in self.work.inputs:
            owner = owners.get(item.stem.lower(), item.name)
            if owner != item.name:
                raise OutputError(
                    f"{self.work.folder} already holds results of {owner}, which those of {item.name} would replace: "
                    "name another folder with --out."
                )

    def _write_manifest(self, outcome: Mapping[str, Any]) -> None:
        work = self.work
        head = {"command": work.command, "settings": dict(work.identity), "columns": list(work.columns)}
        write_json(self._manifest, {**head, "cvkit": cvkit.__version__, **work.details, **outcome})


def _stamp(path: Path) -> list[int]:
    """Return the size and modification time of a file, which change when it is replaced; empty if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
