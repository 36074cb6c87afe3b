"""Format tables for the terminal: column widths, folding of long cells, and numbers for people."""

import sys
from collections.abc import Sequence
from itertools import groupby

Row = Sequence[str]
ITSELF = "(itself)"  # a module that is listed beside its children
GAP = "  "


def human_number(value: int | None, unit: str = "") -> str:
    """Return a count or a size to three digits, in powers of ten: 15.2 k, 225 M, 12 MB."""
    if value is None:
        return "-"
    rounded = float(f"{value:.3g}")
    for prefix, one in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rounded >= one:
            return f"{rounded / one:.3g} {prefix}{unit}"
    return f"{value} {unit}".strip() if value else "0"


def percent(value: float | None) -> str:
    """Return a percentage with two decimals, ``-`` for None."""
    return "-" if value is None else f"{value:.2f}"


def join_numbers(values: Sequence[float]) -> str:
    """Return numbers separated by spaces."""
    return " ".join(f"{value:g}" for value in values)


def join_sides(sides: Sequence[int]) -> str:
    """Return the dimensions of a shape joined by ``x``: ``224x224``."""
    return "x".join(map(str, sides))


def format_table(columns: Sequence[str], rows: Sequence[Row | str], left: Sequence[int]) -> list[str]:
    """Format a table as lines of text.

    Rich cuts names that are too long for the terminal; this table keeps them whole, so that they can be copied.

    Args:
        columns: Headings.
        rows: Cells of each row; a row that is a single text extends over all columns.
        left: Indices of the columns that are aligned left.
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


def column_room(columns: Sequence[str], rows: Sequence[Row], at: int) -> int | None:
    """Return the number of characters that the terminal leaves for column ``at``, or None for a pipe or a file."""
    from rich.console import Console as RichConsole

    console = RichConsole(file=sys.stdout)
    if not console.is_terminal:
        return None
    widths = _widths(columns, rows)
    return max(console.width - sum(widths) + widths[at] - len(GAP) * (len(widths) - 1), 12)


def fold_last_column(columns: Sequence[str], rows: list[Row], mark: str) -> list[Row]:
    """Break the words of the last column after ``mark`` if the terminal is too narrow for them."""
    room = column_room(columns, rows, len(columns) - 1)
    if room is None:
        return rows
    folded: list[Row] = []
    for *cells, word in rows:
        while len(word) > room and (cut := word.rfind(mark, 0, room) + 1):
            folded.append([*cells, word[:cut]])
            cells, word = [""] * len(cells), word[cut:]
        folded.append([*cells, word])
    return folded


def group_by_module(rows: Sequence[Row], room: int | None, prefix: str = "") -> list[Row | str]:
    """Shorten long layer names: print the name of a module once, and its children indented below it.

    Args:
        rows: Rows whose first cell is a dotted name that begins with ``prefix``; rows of one module are adjacent.
        room: Width of the first column, or None if it is not limited.
        prefix: Common beginning of the names.
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
            grouped += group_by_module(inside, room, f"{head}.")
    return grouped
