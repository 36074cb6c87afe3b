"""From the words of a command line to its Config, and the console it speaks through."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from cvkit.cli.console import Console, ProgressMode
from cvkit.config import Config
from cvkit.errors import UsageError

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
    if not text.isdigit():
        raise UsageError(f"--batch-size {text!r}: write a number or auto.")
    return int(text)


@contextmanager
def session(progress: ProgressMode, quiet: bool, json: bool) -> Iterator[Console]:
    """Yield the console of one command, and take down its display whatever happens."""
    console = Console(progress, quiet=quiet, json_output=json)
    try:
        yield console
    finally:
        console.close()
