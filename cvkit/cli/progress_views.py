"""Progress displays: live bars on a terminal, plain lines in a log."""

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from cvkit.cli.cells import format_cell
from cvkit.messages import printable
from cvkit.progress import Facts, Stage, StageEnd, Step

PLAIN_SECONDS = 10.0  # shortest time between two lines of a stage


class ProgressView(Protocol):
    """A display of stages and their steps."""

    def show(self, event: Stage | Step | StageEnd) -> None:
        """Update the display."""

    def write(self, text: str, *, bold: bool = False) -> None:
        """Write one line to stderr without disturbing the display."""

    def stop(self) -> None:
        """Remove the display."""


class RichView:
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
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._unit = ""
        self._first = 0

    def show(self, event: Stage | Step | StageEnd) -> None:
        """Update the bar of the current stage."""
        from rich.markup import escape

        if isinstance(event, Stage):
            self._progress.start()
            self._unit, self._first = event.unit, event.done
            title = escape(printable(event.title))
            self._task = self._progress.add_task(title, total=event.total, completed=event.done, rate="", figures="")
        elif isinstance(event, Step) and self._task is not None:
            elapsed = self._progress.tasks[-1].elapsed or 0
            rate = f"{(event.done - self._first) / elapsed:.1f} {self._unit}/s" if elapsed > 0 else ""
            figures = escape(format_figures(event.figures))
            self._progress.update(self._task, completed=event.done, rate=rate, figures=figures)
        elif isinstance(event, StageEnd) and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def write(self, text: str, *, bold: bool = False) -> None:
        """Write one line above the bars."""
        style = "bold" if bold else None
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True, style=style)

    def stop(self) -> None:
        """Remove the bars."""
        self._progress.stop()


class PlainView:
    """Progress as plain text: at most one line per stage every ``PLAIN_SECONDS``, without control characters."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, event: Stage | Step | StageEnd) -> None:
        """Advance the current stage, and write a line if the last one is old enough."""
        if isinstance(event, Stage):
            self._bar = _line_bar(event)
        elif isinstance(event, Step) and self._bar is not None:
            self._bar.set_postfix_str(format_figures(event.figures), refresh=False)
            self._bar.update(event.done - self._bar.n)
        elif isinstance(event, StageEnd):
            self.stop()

    def write(self, text: str, *, bold: bool = False) -> None:
        """Write one line; a log has no bold text."""
        del bold
        write_line(text)

    def stop(self) -> None:
        """Forget the current stage."""
        self._bar = None


def _line_bar(stage: Stage) -> Any:
    """Return a tqdm bar that writes whole lines instead of redrawing one."""
    from tqdm import tqdm

    class LineBar(tqdm):
        monitor_interval = 0  # no thread that redraws

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            del pos
            if msg is None:
                write_line(str(self).rstrip(" ,"))
            return True

        def __del__(self) -> None:  # tqdm's own would clear a line
            pass

    amount = "{n_fmt}/{total_fmt}" if stage.total else "{n_fmt}"
    remaining = ", {remaining} left" if stage.total else ""
    return LineBar(
        desc=stage.title,
        total=stage.total,
        initial=stage.done,
        file=sys.stderr,
        mininterval=PLAIN_SECONDS,
        delay=PLAIN_SECONDS,
        smoothing=0,
        bar_format=f"{{desc}}: {amount} {stage.unit}, {{rate_noinv_fmt}}{remaining}{{postfix}}",
        unit="",
    )


def format_facts(facts: Facts) -> list[str]:
    """Return the lines of a block of facts: the title, and each label with its value in an aligned column."""
    width = max((len(printable(label)) for label, _ in facts.rows), default=0)
    return [facts.title, *(f"  {printable(label).ljust(width)}  {value}" for label, value in facts.rows)]


def format_figures(figures: Mapping[str, Any]) -> str:
    """Return figures as ``loss 0.1234  failed 2``."""
    return "  ".join(f"{printable(name)} {format_cell(value)}" for name, value in figures.items())


def write_line(text: str) -> None:
    """Write one line to stderr, with control characters as escapes."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()
