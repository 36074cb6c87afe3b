"""What an autoencoder is made of, as a table for the write-up."""

from pathlib import Path

from cvkit.files import write_atomic
from cvkit.models.summary import Summary, summarise
from cvkit.progress import Note, Reporter
from cvkit.tasks.embedding.autoencoder import AutoencoderSpec, build


def summary_of(spec: AutoencoderSpec) -> Summary:
    """Return the layers of an autoencoder for one image; nothing is computed."""
    return summarise(lambda: build(spec), (1, spec.channels, *spec.size))


def tell_summary(summary: Summary, folder: Path, listen: Reporter) -> None:
    """Show what the network is made of, and keep it in ``summary.txt``."""
    text = "\n".join(summary_lines(summary))
    write_atomic(folder / "summary.txt", text + "\n")
    listen(Note(text))


def summary_lines(found: Summary) -> list[str]:
    """Return a table of a network's layers in plain text, for one image."""
    heads = ("layer", "kind", "output", "parameters", "multiply-adds")
    rows = [
        (one.name, one.kind, "x".join(map(str, one.output[1:])), f"{one.parameters:,}", f"{one.multiply_adds:,}")
        for one in found.layers
    ]
    total = ("all", "", "", f"{found.parameters:,}", f"{found.multiply_adds:,}")
    widths = [max(len(row[column]) for row in (heads, *rows, total)) for column in range(len(heads))]

    def line(row: tuple[str, ...]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        return "  ".join([*cells, *(cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True))])

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [line(heads), rule, *map(line, rows), rule, line(total)]
