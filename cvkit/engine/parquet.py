"""Write tables as Parquet files if ``pyarrow`` is installed."""

import importlib.util
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cvkit import files
from cvkit.errors import UsageError

ROWS_PER_GROUP = 100_000  # held in memory at a time


def need_parquet() -> None:
    """Raise UsageError if ``pyarrow`` is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("Parquet files need pyarrow, which is not installed: pip install 'cvkit[parquet]'.")


def write_parquet(path: Path, columns: Mapping[str, str], rows: Iterator[dict[str, Any]]) -> None:
    """Write rows as a Parquet file, atomically.

    Args:
        path: The file.
        columns: Type of each column (``string``, ``int32``, ``float64``). Parts of strings that are not UTF-8 are
            written as escapes, as in CSV files.
        rows: The rows by column name.
    """
    import pyarrow
    from pyarrow import parquet

    texts = [name for name, kind in columns.items() if kind == "string"]
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
    with files.atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while part := list(itertools.islice(rows, ROWS_PER_GROUP)):
            for row in part:
                row.update({name: _utf8(row[name]) for name in texts})
            writer.write_table(pyarrow.Table.from_pylist(part, schema))


def _utf8(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
