"""Record which inputs succeeded or failed, so that a rerun continues where the last one stopped.

Every process appends to its own file (``.cvkit/K-of-N.jsonl``). ``results.csv``, ``failures.csv`` and
``manifest.json`` are written from all of these files, so job arrays and several processes can share one folder.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cvkit
from cvkit.engine.result_folder import (
    MANIFEST,
    check_links,
    claim_folder,
    differing_settings,
    read_manifest,
    write_failures,
)
from cvkit.engine.streaming.records import Records
from cvkit.errors import OutputError
from cvkit.files import make_folder, write_csv, write_json, writing
from cvkit.inputs import RESULT_MARK, Input, folders_of

Rows = Callable[[], Iterator[dict[str, Any]]]
ReportWriter = Callable[[Rows], None]


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
        shard: (K, N): this process does every N-th input, from the K-th.
        overwrite: Whether to redo inputs that are complete.
    """

    command: str
    folder: Path
    inputs: Sequence[Input]
    identity: Mapping[str, Any]
    columns: Sequence[str]
    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False


class Ledger:
    """The record of a result folder for one process, as a context manager."""

    def __init__(self, work: Work) -> None:
        """Open the result folder and find out which inputs are left to do.

        Raises:
            OutputError: If the folder must not be written (``claim_folder``, ``check_links``), or if a result of
                another input would be replaced.
        """
        self.work = work
        self.began = time.time()
        self._lock = threading.Lock()
        self._state = work.folder / RESULT_MARK
        self._manifest = work.folder / MANIFEST
        self._claim_folder()
        check_links(work.folder, folders_of(item.stem for item in work.inputs))
        make_folder(self._state)
        records = Records(self._state)
        needed = ("kind", "stem", "stamp", "files")
        recorded = {
            entry["input"]: {name: entry[name] for name in needed if name in entry}
            for entry in records.entries(records.in_order(()))
        }
        self._check_stems(recorded)
        k, n = work.shard
        self._own = list(work.inputs)[k - 1 :: n]
        self._file = self._state / f"{k}-of-{n}.jsonl"
        if not self._manifest.exists():
            self._write_manifest({})
        self.done = self.failed = 0
        self._todo = [item for item in self._own if work.overwrite or not self._is_complete(item, recorded)]
        with writing(self._file):
            self._stream = self._file.open("a", encoding="utf-8")
            self._stream.write("\n")  # ends a line that a killed process left incomplete

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        with writing(self._file):
            self._stream.close()

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

    def finish(self, details: Mapping[str, Any], write_reports: ReportWriter = lambda _: None) -> Counts:
        """Write the reports of the folder from the records of all processes. One process at a time does so.

        Args:
            details: Further entries of the manifest.
            write_reports: Writes further reports. It gets a function that yields the rows of all inputs that
                succeeded, and may call it several times.

        Returns:
            The counts of this process.
        """
        with writing(self._file):
            self._stream.flush()
        with _locked(self._state / "lock"):
            # Read again inside the lock, so that the last process sees the records of all the others.
            records = Records(self._state)
            names = records.in_order(self.work.inputs)
            write_csv(self.work.folder / "results.csv", self.work.columns, self._rows(records, names))
            write_reports(lambda: records.rows(names))
            failures = names if records.failed else ()
            write_failures(self.work.folder, (entry for entry in records.entries(failures) if "kind" in entry))
            counts = {"inputs": len(records), "done": len(records) - records.failed, "failed": records.failed}
            self._write_manifest({**details, "counts": counts, "seconds": round(time.time() - self.began, 3)})
        return Counts(
            inputs=len(self._own), skipped=len(self._own) - len(self._todo), done=self.done, failed=self.failed
        )

    def _rows(self, records: Records, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``results.csv``; the row of a failed input holds its name alone."""
        for entry in records.entries(names):
            failed = [{self.work.columns[0]: entry["input"]}]
            yield from failed if "kind" in entry else entry.get("rows", failed)

    def _append(self, item: Input, entry: dict[str, Any]) -> None:
        # ASCII only, so that a file name that is not UTF-8 survives as escapes.
        line = json.dumps({"input": item.name, "stem": item.stem, "at": time.time_ns(), **entry})
        with self._lock, writing(self._file):
            self._stream.write(line + "\n")
            self._stream.flush()

    def _is_complete(self, item: Input, recorded: Mapping[str, Mapping[str, Any]]) -> bool:
        """Return whether an input succeeded, has not changed since, and all its files have their full size."""
        entry = recorded.get(item.name)
        if entry is None or "kind" in entry or entry.get("stamp") != _stamp(item.path):
            return False
        try:
            return all(
                (self.work.folder / name).stat().st_size == size for name, size in entry.get("files", {}).items()
            )
        except OSError:
            return False

    def _claim_folder(self) -> None:
        folder = self.work.folder
        manifest = read_manifest(folder) if folder.is_dir() else {}
        # Without a manifest, another process of this command may be creating the folder.
        ours = manifest.get("command") == self.work.command or (not self._manifest.exists() and self._state.is_dir())
        differences = differing_settings(manifest, self.work.identity) if manifest else []
        claim_folder(folder, "results" if ours else None, differences=differences, reuse=not differences)

    def _check_stems(self, recorded: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse to write two inputs to one file: a stem belongs to the input that was recorded first."""
        owners = {entry["stem"].lower(): name for name, entry in recorded.items() if entry.get("files")}
        for item in self.work.inputs:
            owner = owners.get(item.stem.lower(), item.name)
            if owner != item.name:
                raise OutputError(
                    f"{self.work.folder} already holds results of {owner}, which those of {item.name} would replace: "
                    "name another folder with --out."
                )

    def _write_manifest(self, details: Mapping[str, Any]) -> None:
        head = {"command": self.work.command, "settings": dict(self.work.identity), "cvkit": cvkit.__version__}
        write_json(self._manifest, {**head, **details})


def _stamp(path: Path) -> list[int]:
    """Return the size and modification time of a file, which change when it is replaced; empty if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the context, if the system has file locks."""
    try:
        import fcntl
    except ImportError:  # Windows: the last process to finish still writes the reports of all
        yield
        return
    with writing(path), path.open("w") as stream:
        with contextlib.suppress(OSError):  # a file system without locks: each report is still written atomically
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
