"""Present ``cvkit models``."""

from typing import TYPE_CHECKING, Any

import typer

from cvkit.cli.command import INSPECT, Command, add_command
from cvkit.cli.console import Console
from cvkit.cli.export import show_facts
from cvkit.cli.model_check import COMMAND as CHECK
from cvkit.cli.model_tables import show_layers, show_memory
from cvkit.cli.tables import (
    Row,
    fold_last_column,
    format_table,
    human_number,
    join_numbers,
    join_sides,
    percent,
)
from cvkit.config import DownloadModelConfig, ListModelsConfig, ModelPathConfig, ShowModelConfig
from cvkit.imports import without_collector
from cvkit.messages import printable_name
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.models.files import ModelFile
    from cvkit.commands.models.listing import ListModelsResult
    from cvkit.commands.models.showing import ShowModelResult
    from cvkit.models.exported.facts import Facts

BYTES_PER_WEIGHT = 4
MAX_LABELS, MAX_LABEL_LETTERS = 5, 12  # of a trained classifier, which fit one line
HELP = "List models, show their layers and costs, and download their weights."


def _run_list(config: ListModelsConfig, report: Reporter) -> "ListModelsResult":
    from cvkit.commands.models.listing import list_models

    del report
    return list_models(config)


def _run_show(config: ShowModelConfig, report: Reporter) -> "ShowModelResult | Facts":
    with without_collector():
        from cvkit.commands.models.showing import show_model

    del report
    return show_model(config)


def _run_download(config: DownloadModelConfig, report: Reporter) -> "ModelFile":
    from cvkit.commands.models.files import download_model

    return download_model(config, report)


def _run_path(config: ModelPathConfig, report: Reporter) -> "ModelFile":
    from cvkit.commands.models.files import model_path

    del report
    return model_path(config)


def _show_file(console: Console, result: "ModelFile") -> None:
    console.lines(result.path)


def _show_list(console: Console, result: "ListModelsResult") -> None:
    rows: list[Row] = []
    for model in result.models:
        first = model.weights[0] if model.weights else None
        size, top1 = (human_number(first.bytes, "B"), percent(first.top1)) if first else ("-", "-")
        default = first.tag or "-" if first else "-"
        rows.append([model.name, model.library, top1, size, str(len(model.weights)), default])
    columns = ["model", "library", "top-1 %", "file", "tags", "default"]
    console.lines(*format_table(columns, fold_last_column(columns, rows, "_"), left=(0, 1, 5)))


def _show_model(console: Console, result: Any) -> None:
    if not hasattr(result, "layers"):
        show_facts(console, result)
        return
    columns = ["model", f"{result.model} ({result.library})"]
    console.lines(*format_table(columns, fold_last_column(columns, _facts(result), " "), left=(0, 1)), "")
    _show_weights(console, result)
    show_layers(console, result)
    show_memory(console, result)


def _show_weights(console: Console, result: "ShowModelResult") -> None:
    rows: list[Row | str] = []
    for entry in result.weights:
        licence = entry.licence or "-"
        url = "://" in licence
        cells = [join_sides(entry.preprocessing.crop), percent(entry.top1), human_number(entry.bytes, "B")]
        cells += [str(entry.classes), "yes" if entry.cached else "-", "see below" if url else licence]
        rows.append([entry.tag or "-", *cells])
        rows.append(f"  {entry.source}")
        if url:
            rows.append(f"  licence {licence}")
    if rows:
        columns = ["weights", "input", "top-1 %", "file", "classes", "cached", "licence"]
        console.lines(*format_table(columns, rows, left=(0, 5, 6)), "")


def _facts(result: "ShowModelResult") -> list[Row]:
    rows: list[Row] = [["description", result.summary]] if result.summary else []
    if result.paper:
        rows.append(["paper", result.paper])
    size = human_number(result.parameters * BYTES_PER_WEIGHT, "B")
    rows += [
        ["parameters", f"{result.parameters:,}: {size} at {BYTES_PER_WEIGHT} bytes each"],
        ["multiply-adds", f"{result.multiply_adds // result.batch:,} per image of {join_sides(result.size)}"],
    ]
    if result.min_size:
        rows.append(["smallest input", join_sides((result.min_size, result.min_size))])
    steps = result.preprocessing
    if steps is None:
        return rows
    resize = (
        f"shorter side to {steps.resize}"
        if isinstance(steps.resize, int)
        else f"all of it to {join_sides(steps.resize)}"
    )
    layer = result.default_target or f"none: no layer has a spatial grid for {join_sides(result.size)}"
    return [
        *rows,
        ["classes", _classes(result)],
        ["input", f"{resize} ({steps.interpolation}), centre crop {join_sides(steps.crop)}, scaled to 0..1"],
        ["normalisation", f"mean {join_numbers(steps.mean)}, std {join_numbers(steps.std)} (red, green, blue)"],
        ["default gradcam layer", layer],
    ]


def _classes(result: "ShowModelResult") -> str:
    """Return the number of classes, and the first labels of a trained classifier."""
    labels = [printable_name(label, MAX_LABEL_LETTERS) for label in result.labels[:MAX_LABELS]]
    more = ", ..." if len(result.labels) > MAX_LABELS else ""
    return f"{result.classes}: {', '.join(labels)}{more}" if labels else str(result.classes)


COMMANDS: tuple[Command[Any, Any], ...] = (
    Command(
        name="models list",
        help="List the models: cvkit's own networks, and the classifiers of torchvision and timm.",
        config=ListModelsConfig,
        run=_run_list,
        show=_show_list,
        panel=INSPECT,
        page="models.md",
        progress=False,
    ),
    Command(
        name="models show",
        help="Show a model layer by layer: output shapes, parameters, multiply-adds, memory, and gradcam layers.",
        config=ShowModelConfig,
        run=_run_show,
        show=_show_model,
        panel=INSPECT,
        page="models.md",
        progress=False,
    ),
    CHECK,
    Command(
        name="models download",
        help="Download the weights of a classifier into the cache of its library, and print the path of the file.",
        config=DownloadModelConfig,
        run=_run_download,
        show=_show_file,
        panel=INSPECT,
        page="models.md",
    ),
    Command(
        name="models path",
        help="Print the path of a classifier's weights on this machine; exit with an error if they are not there.",
        config=ModelPathConfig,
        run=_run_path,
        show=_show_file,
        panel=INSPECT,
        page="models.md",
        progress=False,
    ),
)
app = typer.Typer(help=HELP, no_args_is_help=True)
for _command in COMMANDS:
    add_command(app, _command)
