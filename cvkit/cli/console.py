"""The only printer: results on stdout, everything else on stderr."""

import csv
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cvkit.device import is_main_process
from cvkit.progress import Event, Note, Stage, StageEnd, Step

PLAIN_SECONDS = 10.0  # a log gets a line this often at most


class ProgressMode(StrEnum):
    """How progress is shown."""

    auto = "auto"
    rich = "rich"
    plain = "plain"
    none = "none"


class Console:
    """Shows progress, notes, tables and errors; with ``json_output`` stdout gets one JSON document and nothing else."""

    def __init__(self, progress: ProgressMode, *, quiet: bool, json_output: bool) -> None:
        self.quiet, self.json_output = quiet, json_output
        self.speaks = is_main_process()
        terminal = sys.stderr.isatty()
        mode = progress if progress != ProgressMode.auto else ProgressMode.rich if terminal else ProgressMode.plain
        if quiet or not self.speaks:
            mode = ProgressMode.none
        self._view: _RichView | _PlainView | None = None
        if mode == ProgressMode.rich:
            self._view = _RichView()
        elif mode == ProgressMode.plain:
            self._view = _PlainView()

    def listen(self, event: Event) -> None:
        """Show what the machinery tells."""
        if isinstance(event, Note):
            if self.speaks and (not self.quiet or event.level == "warning"):
                self.say(f"warning: {event.text}" if event.level == "warning" else event.text)
        elif self._view is not None:
            self._view.show(event)

    def say(self, text: str) -> None:
        """Write one line to stderr, past a live display."""
        if isinstance(self._view, _RichView):
            self._view.say(text)
        else:
            _write_error(text)

    def close(self) -> None:
        """Take down what is live on the terminal."""
        if isinstance(self._view, _RichView):
            self._view.stop()

    def result(self, document: Any) -> None:
        """Write the result as one JSON document on stdout, when asked for JSON."""
        self.close()
        if self.speaks and self.json_output:
            sys.stdout.write(json.dumps(_plain(document), indent=2) + "\n")

    def lines(self, *lines: str) -> None:
        """Write lines on stdout, unless the result is JSON."""
        self.close()
        if self.speaks and not self.json_output:
            sys.stdout.write("".join(f"{line}\n" for line in lines))

    def failures(self, path: Path, most: int = 3) -> None:
        """Say on stderr what the first failed inputs failed of."""
        if not self.speaks or not path.is_file():
            return
        with path.open(encoding="utf-8", newline="") as stream:
            for row in itertools.islice(csv.DictReader(stream), most):
                message = row["message"]
                self.say(f"failed: {message if row['input'] in message else row['input'] + ': ' + message}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[int] = ()) -> None:
        """Write a table on stdout, unless the result is JSON: figures to the right, four places.

        The first column, and those of the numbers ``left``, are words.
        """
        self.close()
        if not self.speaks or self.json_output or not rows:
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
            words = index == 0 or index in left
            table.add_column(escape(name), justify="left" if words else "right", no_wrap=not words)
        for row in rows:
            table.add_row(*(escape(_cell(value)) for value in row))
        with console.capture() as drawn:  # Rich would end the program with 1 when a reader has left
            console.print(table)
        sys.stdout.write(drawn.get())


def bar(share: float, cells: int = 12) -> str:
    """Return a share 0..1 as a bar of text, to an eighth of a cell."""
    eighths = round(min(1.0, max(0.0, share)) * cells * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def show_error(message: str) -> None:
    """Write an error as one line on stderr, whichever process it is that fails."""
    _write_error(f"error: {' '.join(message.split())}")


def _write_error(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Turn results into what JSON holds: NaN and infinities become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, Iterator)):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class _RichView:
    """Live progress bars on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = RichConsole(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._unit = ""
        self._first = 0

    def show(self, event: Event) -> None:
        from rich.markup import escape

        if isinstance(event, Stage):
            self._progress.start()
            self._unit, self._first = event.unit, event.done
            title = escape(event.title)
            self._task = self._progress.add_task(title, total=event.total, completed=event.done, rate="", shown="")
        elif isinstance(event, Step) and self._task is not None:
            elapsed = self._progress.tasks[-1].elapsed or 0
            rate = f"{(event.done - self._first) / elapsed:.1f} {self._unit}/s" if elapsed > 0 else ""
            shown = escape(_figures(event.shown))
            self._progress.update(self._task, completed=event.done, rate=rate, shown=shown)
        elif isinstance(event, StageEnd) and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._progress.stop()


class _PlainView:
    """One plain line now and then, for logs."""

    def __init__(self) -> None:
        self._stage = Stage("")
        self._began = self._last = 0.0

    def show(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Stage):
            self._stage, self._began, self._last = event, now, now
        elif isinstance(event, Step) and now - self._last >= PLAIN_SECONDS:
            self._last = now
            done, total = event.done - self._stage.done, self._stage.total
            rate = done / max(1e-9, now - self._began)
            left = f", {_clock((total - event.done) / rate)} left" if total and rate > 0 else ""
            of = f"/{total}" if total else ""
            shown = f"  {_figures(event.shown)}" if event.shown else ""
            _write_error(f"{self._stage.title}: {event.done}{of} {self._stage.unit}, {rate:.1f}/s{left}{shown}")


def _figures(shown: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_cell(value)}" for name, value in shown.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
