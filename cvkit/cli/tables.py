"""Format tables for the terminal: column widths, folding of long cells, and numbers for people."""

import sys
from collections.abc import Sequence
from itertools import groupby

Row = Sequence[str]
ITSELF = "(itself)"  # a module beside what is inside it
GAP = "  "


def human(value: int | None, unit: str = "") -> str:
    """Return a count or a size to three digits, in powers of ten: 15.2 k, 225 M, 12 MB."""
    if value is None:
        return "-"
    rounded = float(f"{value:.3g}")
    for prefix, one in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rounded >= one:
            return f"{rounded / one:.3g} {prefix}{unit}"
    return f"{value} {unit}".strip() if value else "0"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _by(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _table(columns: Sequence[str], rows: Sequence[Row | str], left: Sequence[int]) -> list[str]:
    """Return the lines of a table, in which a row that is one text runs on over all columns.

    Not Rich's: it cuts names that are too long for the terminal, and these are to be copied.
    """
    widths = _widths(columns, [row for row in rows if not isinstance(row, str)])

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return GAP.join(padded).rstrip()

    rule = "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    return [line(columns), rule, *(row if isinstance(row, str) else line(row) for row in rows)]


def _widths(columns: Sequence[str], rows: Sequence[Row]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]


def _room(columns: Sequence[str], rows: Sequence[Row], at: int) -> int | None:
    """Return the width that a terminal leaves for a column, None where nothing limits it (a pipe, a file)."""
    from rich.console import Console as RichConsole

    console = RichConsole(file=sys.stdout)
    if not console.is_terminal:
        return None
    widths = _widths(columns, rows)
    return max(console.width - sum(widths) + widths[at] - len(GAP) * (len(widths) - 1), 12)


def _folded(columns: Sequence[str], rows: list[Row], mark: str) -> list[Row]:
    """Break the words of the last column behind a mark, where the terminal is too narrow for them."""
    room = _room(columns, rows, len(columns) - 1)
    if room is None:
        return rows
    folded: list[Row] = []
    for *cells, word in rows:
        while len(word) > room and (cut := word.rfind(mark, 0, room) + 1):
            folded.append([*cells, word[:cut]])
            cells, word = [""] * len(cells), word[cut:]
        folded.append([*cells, word])
    return folded


def _grouped(rows: Sequence[Row], room: int | None, prefix: str = "") -> list[Row | str]:
    """Part names that are too long for their column: the module stands once, and below it what is inside.

    All rows begin with ``prefix``, and those of one module stay together.
    """
    grouped: list[Row | str] = []
    for part, run in groupby(rows, key=lambda row: row[0].removeprefix(prefix).partition(".")[0]):
        inside, head = list(run), prefix + part
        tails = ["  " + (row[0].removeprefix(head) or ITSELF) for row in inside]
        if room is None or all(len(row[0]) <= room for row in inside) or all(row[0] == head for row in inside):
            grouped += [[row[0] or ITSELF, *row[1:]] for row in inside]
        elif all(len(tail) <= room for tail in tails):
            grouped += [head, *([tail, *row[1:]] for tail, row in zip(tails, inside, strict=True))]
        else:
            grouped += _grouped(inside, room, f"{head}.")
    return grouped
