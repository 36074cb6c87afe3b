"""Summarise the layers of an autoencoder as a table."""

from pathlib import Path

from cvkit.engine.run_folder import SUMMARY
from cvkit.files import write_atomic
from cvkit.models.summary import Summary, summarise
from cvkit.progress import Note, Reporter
from cvkit.tasks.embedding.autoencoder import AutoencoderSpec, build


def summary_of(spec: AutoencoderSpec) -> Summary:
    """Return the layers of an autoencoder for layer image, without computing anything."""
    return summarise(lambda: build(spec), (1, spec.channels, *spec.size))


def report_summary(summary: Summary, folder: Path, report: Reporter) -> None:
    """Report the layers of the network, and write them to a file of the folder."""
    lines = summary_lines(summary)
    write_atomic(folder / SUMMARY, "".join(f"{line}\n" for line in lines))
    for line in lines:
        report(Note(line))


def summary_lines(summary: Summary) -> list[str]:
    """Return a plain text table of the layers of a network, for layer image."""
    heads = ("layer", "kind", "output", "parameters", "multiply-adds")
    rows = [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output[1:])),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        )
        for layer in summary.layers
    ]
    total = ("all", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}")
    widths = [max(len(row[column]) for row in (heads, *rows, total)) for column in range(len(heads))]

    def line(row: tuple[str, ...]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        return "  ".join([*cells, *(cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True))])

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [line(heads), rule, *map(line, rows), rule, line(total)]
