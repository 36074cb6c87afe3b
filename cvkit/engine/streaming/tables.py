"""Write the tables of a result folder from the records of its inputs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cvkit.engine.result_folder import write_failures
from cvkit.engine.streaming.records import Records
from cvkit.files import write_csv

Rows = Callable[[], Iterator[dict[str, Any]]]
ReportWriter = Callable[[Rows], None]


def write_tables(
    folder: Path, columns: Sequence[str], records: Records, names: Sequence[str], write_reports: ReportWriter
) -> dict[str, int]:
    """Write ``results.csv``, ``failures.csv`` and further reports.

    Args:
        folder: The result folder.
        columns: Columns of ``results.csv``. The first one holds the name of the input.
        records: The records of all inputs.
        names: Names of the inputs in the order of the tables.
        write_reports: Writes further reports. It gets a function that yields the rows of all inputs that succeeded,
            and may call it several times.

    Returns:
        The numbers of inputs in the folder, for the manifest.
    """
    write_csv(folder / "results.csv", columns, _rows(columns, records, names))
    write_reports(lambda: records.rows(names))
    failures = names if records.failed else ()
    write_failures(folder, (entry for entry in records.entries(failures) if "kind" in entry))
    return {"inputs": len(records), "done": len(records) - records.failed, "failed": records.failed}


def _rows(columns: Sequence[str], records: Records, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``results.csv``; the row of a failed input holds its name alone."""
    for entry in records.entries(names):
        if "kind" in entry:
            yield {columns[0]: entry["input"]}
        else:
            yield from entry["rows"]
