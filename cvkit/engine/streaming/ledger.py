"""What of a result folder is done, and what failed: kept as it happens, so that a night's work is never lost.

Every process appends to a file of its own (``.cvkit/K-of-N.jsonl``); ``results.csv``, ``failures.csv`` and
``manifest.json`` are made from all of them, so job arrays and several processes can share one folder.
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
from cvkit.engine.result_folder import MANIFEST, claim_folder, differing_settings, read_manifest
from cvkit.engine.streaming.notes import Notes
from cvkit.errors import OutputError
from cvkit.files import Input, make_folder, write_csv, write_json, writing

FAILURE_COLUMNS = ("input", "kind", "message")
Rows = Callable[[], Iterator[dict[str, Any]]]
Report = Callable[[Rows], None]


@dataclass(frozen=True)
class Counts:
    """How many inputs there were, were done before, were done now, and failed."""

    inputs: int
    skipped: int
    done: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one run of a command means to do in its result folder.

    ``identity`` are the settings that the results depend on: a folder keeps to one set of them. ``columns`` are those
    of ``results.csv``. ``shard`` is (K, N), this process's share of ``inputs``.
    """

    command: str
    folder: Path
    inputs: Sequence[Input]
    identity: Mapping[str, Any]
    columns: Sequence[str]
    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False


class Ledger:
    """The record of a result folder, for one process; a context manager."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.began = time.time()
        self._lock = threading.Lock()
        self._state = work.folder / ".cvkit"
        self._manifest = work.folder / MANIFEST
        self._claim_folder()
        make_folder(self._state)
        wanted = ("kind", "stem", "stamp", "files")
        notes = Notes(self._state)
        self._known = {
            entry["input"]: {name: entry[name] for name in wanted if name in entry}
            for entry in notes.entries(notes.in_order(()))
        }
        self._check_stems()
        k, n = work.shard
        self._mine = list(work.inputs)[k - 1 :: n]
        self._file = self._state / f"{k}-of-{n}.jsonl"
        if not self._manifest.exists():
            self._write_manifest({})
        self.done = self.failed = 0
        self._todo = [item for item in self._mine if work.overwrite or not self._is_whole(item)]
        self._known = {}  # it grows with the folder, and is not asked again
        with writing(self._file):
            self._stream = self._file.open("a", encoding="utf-8")
            self._stream.write("\n")  # a line that a killed process left unfinished ends here

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        with writing(self._file):
            self._stream.close()

    @property
    def todo(self) -> list[Input]:
        """The inputs of this process's share that are not done and whole."""
        return self._todo

    def note_done(self, item: Input, rows: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> None:
        """Note that an input is done: its rows of ``results.csv`` and the files written for it."""
        sizes = {path.relative_to(self.work.folder).as_posix(): path.stat().st_size for path in files}
        self._append(item, {"rows": list(rows), "files": sizes, "stamp": _stamp(item.path)})
        self.done += 1

    def note_failed(self, item: Input, kind: str, message: str) -> None:
        """Note that an input failed; it is tried again by the next run of the command."""
        self._append(item, {"kind": kind, "message": message})
        self.failed += 1

    def finish(self, details: Mapping[str, Any], report: Report = lambda _: None) -> Counts:
        """Write the reports of the folder from what all processes have noted, and return this process's counts.

        ``report`` may write more of them: it gets what yields the rows of all inputs that are done, as often as it is
        called. One process at a time does so.
        """
        with writing(self._file):
            self._stream.flush()
        with _only_one(self._state / "lock"):
            # Read anew inside the lock: the last process to come here sees the notes of all the others.
            notes = Notes(self._state)
            names = notes.in_order(self.work.inputs)
            write_csv(self.work.folder / "results.csv", self.work.columns, self._rows(notes, names))
            report(lambda: notes.rows(names))
            if notes.failed:
                failures = (entry for entry in notes.entries(names) if "kind" in entry)
                write_csv(self.work.folder / "failures.csv", FAILURE_COLUMNS, failures)
            else:
                (self.work.folder / "failures.csv").unlink(missing_ok=True)
            counts = {"inputs": len(notes), "done": len(notes) - notes.failed, "failed": notes.failed}
            self._write_manifest({**details, "counts": counts, "seconds": round(time.time() - self.began, 3)})
        return Counts(
            inputs=len(self._mine), skipped=len(self._mine) - len(self._todo), done=self.done, failed=self.failed
        )

    def _rows(self, notes: Notes, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``results.csv``; a failed input keeps its place, with its name alone."""
        for entry in notes.entries(names):
            failed = [{self.work.columns[0]: entry["input"]}]
            yield from failed if "kind" in entry else entry.get("rows", failed)

    def _append(self, item: Input, entry: dict[str, Any]) -> None:
        # ASCII only: a file name that is no UTF-8 survives as escapes.
        line = json.dumps({"input": item.name, "stem": item.stem, "at": time.time_ns(), **entry})
        with self._lock, writing(self._file):
            self._stream.write(line + "\n")
            self._stream.flush()

    def _is_whole(self, item: Input) -> bool:
        """Tell whether an input is done, has not changed since, and all its files are there at their full size."""
        entry = self._known.get(item.name)
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

    def _check_stems(self) -> None:
        """Never write two inputs to one file: a stem belongs to the input that had it first."""
        owners = {entry["stem"].lower(): name for name, entry in self._known.items() if entry.get("files")}
        for item in self.work.inputs:
            owner = owners.get(item.stem.lower(), item.name)
            if owner != item.name:
                raise OutputError(
                    f"{self.work.folder} holds results of {owner}, which {item.name} would replace: name another --out."
                )

    def _write_manifest(self, details: Mapping[str, Any]) -> None:
        head = {"command": self.work.command, "settings": dict(self.work.identity), "cvkit": cvkit.__version__}
        write_json(self._manifest, {**head, **details})


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Let one process at a time through, where the system has file locks."""
    try:
        import fcntl
    except ImportError:  # Windows: the last to finish still writes the reports of all
        yield
        return
    with writing(path), path.open("w") as stream:
        with contextlib.suppress(OSError):  # a file system without locks: the reports are still written whole
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
