"""Present ``cvkit models check``."""

import shlex
from typing import TYPE_CHECKING

from cvkit.cli.command import INSPECT, Command
from cvkit.cli.console import Console
from cvkit.cli.tables import join_sides
from cvkit.config import CheckModelConfig
from cvkit.config.preprocessing import format_rgb
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.models.checking import CheckedVariant, CheckResult

COLUMNS = ("mean", "std", "input", "crop", "mode", "interpolation", "arguments", "top-1", "95 % from", "to", "loss", "")


def _run(config: CheckModelConfig, report: Reporter) -> "CheckResult":
    with without_collector():
        from cvkit.commands.models.checking import check_model

    return check_model(config, report)


def _show(console: Console, result: "CheckResult") -> None:
    rows = [_row(variant, variant is result.variants[result.best]) for variant in result.variants]
    console.table(COLUMNS, rows, left=(1, 4, 5, 6, 11))
    failed = f", {len(result.failed)} could not be read" if result.failed else ""
    minutes, seconds = divmod(round(result.seconds), 60)
    console.lines(
        f"{result.images} of {result.available} images{failed}, {len(result.variants)} preprocessings, "
        f"{minutes} min {seconds} s.",
        "The best one has the smallest loss of those whose accuracy does not differ significantly from the highest one",
        "(McNemar's exact test, 5 %).",
    )
    if result.options:
        console.lines(f"best: {shlex.join(result.options)}")
    else:
        console.lines("best: the default; no option is needed.")


def _row(variant: "CheckedVariant", is_best: bool) -> list[object]:
    return [
        _rgb(variant.mean),
        _rgb(variant.std),
        join_sides(variant.input_size),
        f"{variant.crop_pct:.3g}",
        variant.crop_mode,
        variant.interpolation,
        " ".join(variant.model_args),
        variant.top1.value,
        variant.top1.low,
        variant.top1.high,
        variant.loss,
        ", ".join(word for word, true in (("best", is_best), ("default", variant.default)) if true),
    ]


def _rgb(values: tuple[float, float, float]) -> str:
    return format_rgb(tuple(float(f"{value:.3g}") for value in values))


COMMAND = Command(
    name="models check",
    help="Measure the accuracy of a classifier on labelled images under the preprocessings with which its weights may "
    "have been trained. Names the options of the best one.",
    config=CheckModelConfig,
    run=_run,
    show=_show,
    panel=INSPECT,
    page="models.md",
)
