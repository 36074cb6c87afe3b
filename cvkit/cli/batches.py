"""Present the counts of an inference command."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cvkit.cli.console import Console
from cvkit.errors import ExitCode

if TYPE_CHECKING:
    from cvkit.engine.streaming.batch import BatchResult


def show_batch(console: Console, result: "BatchResult", what: str) -> None:
    """Print how many inputs were processed.

    Args:
        what: What was written, for the sentence "12 maps in FOLDER".

    Raises:
        typer.Exit: With the code PARTIAL if any input failed.
    """
    counts = result.counts
    skipped = f", {counts.skipped} done before" if counts.skipped else ""
    failed = f", {counts.failed} failed (failures.csv)" if counts.failed else ""
    console.lines(f"{counts.done} {what} in {result.folder}{skipped}{failed}")
    if counts.failed:
        exit_partial(console, result.folder)


def exit_partial(console: Console, folder: Path) -> None:
    """Print the first failures of a result folder, and exit with the code PARTIAL."""
    console.failures(folder / "failures.csv")
    raise typer.Exit(ExitCode.PARTIAL)


def public_fields(result: Any) -> dict[str, Any]:
    """Return a result's fields for JSON, without those that are declared with ``repr=False``."""
    return {field.name: getattr(result, field.name) for field in fields(result) if field.repr}
