"""Present ``cvkit export``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cvkit.cli.command import TOOLS, Command
from cvkit.cli.console import Console
from cvkit.config import ExportConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.export import ExportResult
    from cvkit.commands.export.measuring import Row
    from cvkit.models.exported.facts import Facts

AGREEMENT_LABELS = {"agreement": "same top class", "accuracy": "accuracy", "cc": "CC"}
MAX_LISTED = 3  # labels that --inspect prints


def _run(config: ExportConfig, report: Reporter) -> "ExportResult | Facts":
    with without_collector():
        from cvkit.commands.export import export, inspect

    return export(config, report) if config.inspect is None else inspect(config.inspect)


def _show(console: Console, result: Any) -> None:
    if hasattr(result, "checks"):
        _show_export(console, result)
    else:
        show_facts(console, result)


def _show_export(console: Console, result: "ExportResult") -> None:
    rows = [
        [
            f"{check.batch} x {check.height}x{check.width}",
            f"{check.absolute:.2g}",
            f"{check.relative:.2g}",
            check.agreement,
        ]
        for check in result.checks
    ]
    console.table(["verified on", "largest difference", "of the largest value", "same top class"], rows)
    if result.benchmark:
        _show_benchmark(console, result.benchmark)
    console.lines(f"{result.path}, {result.bytes / 1e6:.1f} MB")


def _show_benchmark(console: Console, rows: "list[Row]") -> None:
    columns = [name for name in AGREEMENT_LABELS if getattr(rows[0], name) is not None]
    heads = ["on the processor", f"images/s, batch {rows[0].batch}", "ms, batch 1", "MB"]
    cells = [
        [row.name, f"{row.images_per_second:.1f}", f"{row.latency_ms:.2f}", f"{row.bytes / 1e6:.1f}"]
        + [f"{getattr(row, name):.5f}" for name in columns]
        for row in rows
    ]
    console.table([*heads, *(AGREEMENT_LABELS[name] for name in columns)], cells)


def show_facts(console: Console, facts: "Facts") -> None:
    """Print the metadata of an exported file, one line per entry."""
    for name, value in asdict(facts).items():
        long = name in ("labels", "class_ids") and len(value) > MAX_LISTED
        shown = f"{len(value)}: {', '.join(value[:MAX_LISTED])}, ..." if long else value
        console.lines(f"{name}: {shown}")


COMMAND = Command(
    name="export",
    help="Export a model for other programs. The file is verified against PyTorch before it is saved.",
    config=ExportConfig,
    run=_run,
    show=_show,
    panel=TOOLS,
    page="export.md",
)
