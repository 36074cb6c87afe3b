"""Record the outcomes of checks, and write them as JSON and as Markdown tables after every check."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cvkit import files

PASSED, FAILED, MEASURED, SKIPPED, ERROR = "passed", "failed", "measured", "skipped", "error"
Row = dict[str, Any]


class Skip(Exception):
    """The reason why a check does not apply to this machine or version."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        name: Name of the check.
        kind: ``correctness`` or ``speed``.
        status: ``passed`` or ``failed`` (correctness), ``measured`` (speed), ``skipped``, or ``error`` if it crashed.
        seconds: Duration.
        message: The reason of a skipped check, or the error.
        rows: The measurements. In a correctness check each has a key ``ok``.
        table: Title of the table that the rows belong to.
    """

    name: str
    kind: str
    status: str
    seconds: float = 0.0
    message: str = ""
    rows: list[Row] = field(default_factory=list)
    table: str = ""

    @property
    def is_failure(self) -> bool:
        """True if a correctness check failed or crashed."""
        return self.kind == "correctness" and self.status in (FAILED, ERROR)


class Report:
    """The outcomes so far, which ``gpu.json`` and ``gpu.md`` always hold.

    Args:
        folder: Folder of the two files.
        facts: Device and versions.
        notes: Sentences above the tables.
    """

    def __init__(self, folder: Path, facts: Mapping[str, str], notes: list[str]) -> None:
        self.folder, self.facts, self.notes = folder, facts, notes
        self.outcomes: list[Outcome] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a check, and write both files."""
        self.outcomes.append(outcome)
        self.write()

    def write(self) -> None:
        """Write both files atomically, so that a kill at any time leaves the outcomes so far."""
        document = {"machine": self.facts, "notes": self.notes, "checks": [asdict(each) for each in self.outcomes]}
        files.write_atomic(self.folder / "gpu.json", json.dumps(document, indent=1, default=str) + "\n")
        files.write_atomic(self.folder / "gpu.md", self.markdown())

    def markdown(self) -> str:
        """Return the tables: the machine, the checks, and one table per title of the measurements."""
        lines = [", ".join(f"{name} {value}" for name, value in self.facts.items()) + ".", ""]
        lines += [line for note in self.notes for line in (note, "")]
        overview: list[Row] = [
            {"check": each.name, "kind": each.kind, "outcome": _describe(each), "seconds": f"{each.seconds:.0f}"}
            for each in self.outcomes
        ]
        lines += ["### Checks", "", *markdown_table(overview), ""]
        for title in dict.fromkeys(each.table for each in self.outcomes if each.rows):
            rows = [row for each in self.outcomes if each.table == title for row in each.rows]
            lines += [f"### {title}", "", *markdown_table(rows), ""]
        return "\n".join(lines)


def _describe(outcome: Outcome) -> str:
    return f"{outcome.status}: {outcome.message}" if outcome.message else outcome.status


def markdown_table(rows: list[Row]) -> list[str]:
    """Return the lines of a Markdown table; its columns are the keys of all rows."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        if value == 0 or 1e-3 <= abs(value) < 10:
            return f"{value:.3g}"
        return f"{value:,.0f}" if 10 <= abs(value) < 1e6 else f"{value:.1e}"
    return str(value).replace("|", "/").replace("\n", " ")
