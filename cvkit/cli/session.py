"""From the words of a command line to its Config, and the console it speaks through."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import typer

from cvkit.cli.console import Console, ProgressMode
from cvkit.config import Config
from cvkit.errors import ExitCode, UsageError

C = TypeVar("C", bound=Config)


def settings(kind: type[C], asked: Mapping[str, Any], **read: Any) -> C:
    """Build a Config from a command's arguments: those it has fields for, with ``read`` for the parsed ones."""
    names = {field.name for field in fields(kind)}
    values = {name: value for name, value in asked.items() if name in names} | read
    if isinstance(values.get("batch_size"), str):
        values["batch_size"] = _batch_size(values["batch_size"])
    return kind(**values)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UsageError(f"--batch-size {text!r}: write a number or auto.")
    return int(text)


def finish_batch(console: Console, counts: Any, folder: Path, what: str) -> None:
    """Say what a batch came to, and exit with PARTIAL when some inputs failed."""
    skipped = f", {counts.skipped} done before" if counts.skipped else ""
    failed = f", {counts.failed} failed (failures.csv)" if counts.failed else ""
    console.lines(f"{counts.done} {what} in {folder}{skipped}{failed}")
    if counts.failed:
        console.failures(folder / "failures.csv")
        raise typer.Exit(ExitCode.PARTIAL)


def shown(result: Any) -> dict[str, Any]:
    """Return a result's fields for JSON, but for those that it keeps from being shown (``repr=False``)."""
    return {field.name: getattr(result, field.name) for field in fields(result) if field.repr}


def show_scores(console: Console, result: Any) -> None:
    """Show the mean scores of an evaluation, a row for each source of maps."""
    columns = list(next(iter(result.scores.values())))
    rows = [[name, *(means[column].mean for column in columns)] for name, means in result.scores.items()]
    scored = result.images - len(result.failed)
    console.table([f"{result.protocol}, {result.split}, {scored} images", *columns], rows)


@contextmanager
def session(progress: ProgressMode, quiet: bool, json: bool) -> Iterator[Console]:
    """Yield the console of one command, and take down its display whatever happens."""
    console = Console(progress, quiet=quiet, json_output=json)
    try:
        yield console
    finally:
        console.close()
