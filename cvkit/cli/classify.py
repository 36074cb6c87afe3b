"""Present ``cvkit classify``."""

from typing import TYPE_CHECKING, Any

from cvkit.cli.batches import public_fields, show_batch
from cvkit.cli.command import USE, Command
from cvkit.cli.console import Console, bar
from cvkit.config import ClassifyConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.classify import ClassifyResult

MAX_SHOWN = 100  # images in the table on the screen; results.csv holds all of them


def _run(config: ClassifyConfig, report: Reporter) -> "ClassifyResult":
    with without_collector():
        from cvkit.commands.classify import classify

    return classify(config, report)


def _document(result: "ClassifyResult") -> dict[str, Any]:
    return {**public_fields(result), "rows": result.rows()}


def _show(console: Console, result: "ClassifyResult") -> None:
    if not console.json_output:
        _show_rows(console, result)
        _show_accuracy(console, result)
    show_batch(console, result.batch, "images classified, results")


def _show_rows(console: Console, result: "ClassifyResult") -> None:
    rows, images = [], 0
    for row in result.rows():
        images += row["rank"] == 1
        if images > MAX_SHOWN:
            break
        name, probability = row["image"] if row["rank"] == 1 else "", row["probability"]
        rows.append([name, row["label"] or row["class_index"], probability, bar(probability)])
    console.table(["image", "class", "probability", ""], rows, left=(1, 3))
    if images > MAX_SHOWN:
        console.lines(f"... the first {MAX_SHOWN} images; {result.batch.folder}/results.csv lists all of them.")


def _show_accuracy(console: Console, result: "ClassifyResult") -> None:
    if result.accuracy is None:
        return
    rows = [
        [name, round(part.value * part.n), part.n, part.value, part.low, part.high]
        for name, part in (("top-1", result.accuracy.top1), ("top-5", result.accuracy.top5))
        if part.n
    ]
    console.table(["accuracy", "correct", "images", "fraction", "95 % from", "to"], rows)


COMMAND = Command(
    name="classify",
    help="Classify every image. Writes the most likely classes with their probabilities, and the accuracy if the true "
    "classes are known.",
    config=ClassifyConfig,
    run=_run,
    show=_show,
    document=_document,
    panel=USE,
    page="classify.md",
)
