"""Print results on stdout and everything else on stderr. No other module prints."""

import csv
import itertools
import json
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from cvkit.cli.cells import format_cell
from cvkit.cli.document import encode_document
from cvkit.cli.progress_views import PlainView, ProgressView, RichView, format_facts, write_line
from cvkit.errors import error_document
from cvkit.messages import printable
from cvkit.processes import is_main_process
from cvkit.progress import Event, Facts, Note

MAX_FAILURES_SHOWN = 3
_LONG_WORD = re.compile(r"(\S{1000})\S{100,}")  # too long for a path; it would fill a log


class ProgressMode(StrEnum):
    """Ways to show progress."""

    auto = "auto"
    rich = "rich"
    plain = "plain"
    none = "none"


class Console:
    """The output of one command.

    Only the main process of a command writes. With ``json_output``, stdout gets one JSON document and nothing else.
    """

    def __init__(self, progress: ProgressMode, *, quiet: bool, json_output: bool) -> None:
        self.quiet, self.json_output = quiet, json_output
        self.writes = is_main_process()
        if progress == ProgressMode.auto:
            progress = ProgressMode.rich if sys.stderr.isatty() else ProgressMode.plain
        if quiet or not self.writes:
            progress = ProgressMode.none
        self._view: ProgressView | None = None
        if progress == ProgressMode.rich:
            self._view = RichView()
        elif progress == ProgressMode.plain:
            self._view = PlainView()

    def report(self, event: Event) -> None:
        """Show a progress event."""
        if isinstance(event, Note):
            if self.writes and (not self.quiet or event.level == "warning"):
                text = f"warning: {event.text}" if event.level == "warning" else event.text
                self.error_line(text, bold=event.level == "important")
        elif isinstance(event, Facts):
            if self.writes and not self.quiet:
                for line in format_facts(event):
                    self.error_line(line)
        elif self._view is not None:
            self._view.show(event)

    def error_line(self, text: str, *, bold: bool = False) -> None:
        """Write one line to stderr; it is bold on a terminal if ``bold`` is set."""
        if self._view is not None:
            self._view.write(text, bold=bold)
        else:
            write_line(text)

    def close(self) -> None:
        """Remove the live display."""
        if self._view is not None:
            self._view.stop()

    def result(self, document: Any) -> None:
        """Write the result as one JSON document on stdout if ``--json`` is set."""
        self.close()
        if self.writes and self.json_output:
            sys.stdout.write(encode_document(document) + "\n")

    def lines(self, *lines: str) -> None:
        """Write lines on stdout unless ``--json`` is set, with control characters as escapes."""
        self.close()
        if self.writes and not self.json_output:
            sys.stdout.write("".join(f"{printable(str(line))}\n" for line in lines))

    def failures(self, path: Path) -> None:
        """Write the first rows of a ``failures.csv`` to stderr, and the number of the others."""
        if not self.writes or not path.is_file():
            return
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream)
            for row in itertools.islice(rows, MAX_FAILURES_SHOWN):
                message = row["message"]
                named = message if row["input"] in message else f"{row['input']}: {message}"
                self.error_line(f"failed: {named}")
            more = sum(1 for _ in rows)
        if more:
            self.error_line(f"failed: {more} more, listed in {path}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[int] = ()) -> None:
        """Write a table on stdout unless ``--json`` is set.

        Args:
            columns: Headings.
            rows: Cells; floats are printed with four decimals.
            left: Indices of the columns that are aligned left, in addition to the first one.
        """
        self.close()
        if not self.writes or self.json_output or not rows:
            return
        from rich import box
        from rich.console import Console as RichConsole
        from rich.markup import escape
        from rich.table import Table

        console = RichConsole(file=sys.stdout, soft_wrap=False)
        if not console.is_terminal:
            console = RichConsole(file=sys.stdout, width=400, no_color=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(columns):
            is_text = index == 0 or index in left
            table.add_column(escape(printable(name)), justify="left" if is_text else "right", no_wrap=not is_text)
        for row in rows:
            table.add_row(*(escape(format_cell(value)) for value in row))
        with console.capture() as rendered:  # Rich would exit with 1 when the reader of a pipe has left
            console.print(table)
        sys.stdout.write(rendered.get())


def bar(fraction: float, cells: int = 12) -> str:
    """Return a fraction from 0 to 1 as a bar of block characters, to an eighth of a cell."""
    eighths = round(min(1.0, max(0.0, fraction)) * cells * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def show_error(kind: str, message: str, exit_code: int) -> None:
    """Write an error as one line on stderr, and as the JSON document on stdout if ``--json`` is set.

    Every process that fails writes the line; only the main one writes the document.

    Args:
        kind: Kind of the error, such as ``CvkitError.kind``.
        message: The line.
        exit_code: Exit code of the command.
    """
    message = _LONG_WORD.sub(r"\1...", " ".join(message.split()))
    write_line(f"error: {message}")
    if "--json" in sys.argv and is_main_process():
        sys.stdout.write(json.dumps(error_document(kind, message, exit_code), indent=2) + "\n")
