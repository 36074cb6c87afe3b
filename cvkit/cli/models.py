"""``cvkit models``: what can be used by name, what it is made of, and the files of its weights."""

from typing import TYPE_CHECKING, Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import Console, ProgressMode
from cvkit.cli.session import session, settings
from cvkit.cli.tables import ITSELF, Row, _by, _folded, _grouped, _numbers, _percent, _room, _table, human
from cvkit.config import DownloadModelConfig, ListModelsConfig, ModelConfig, ShowModelConfig, parse_size

if TYPE_CHECKING:
    from cvkit.commands.models.files import ModelFile
    from cvkit.commands.models.listing import ListModelsResult
    from cvkit.commands.models.showing import ShowModelResult

BYTES_A_NUMBER = 4
Name = Annotated[
    str, typer.Argument(help="A model, with or without the tag of its weights, as in models list.", metavar="NAME")
]

app = typer.Typer(help="List models, show what they are made of, fetch their weights.", no_args_is_help=True)


@app.command("list")
def list_models(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Part of a name, or a pattern such as 'timm:vit_*_224'.", metavar="PATTERN"),
    ] = ListModelsConfig.pattern,
    json: o.Json = False,
) -> None:
    """List the models: our saliency networks, and the classifiers of torchvision and timm with their weights."""
    asked = locals()
    with session(ProgressMode.none, quiet=False, json=json) as console:
        config = settings(ListModelsConfig, asked)
        from cvkit.commands.models.listing import list_models as task

        result = task(config)
        console.result(result)
        _show_list(console, result)


@app.command("show")
def show(
    name: Name,
    size: Annotated[
        str | None, typer.Option(help="Pixels of an image.", metavar="HxW", show_default="the model's own")
    ] = None,
    batch: Annotated[int, typer.Option(help="Images that go through at once.")] = ShowModelConfig.batch,
    json: o.Json = False,
) -> None:
    """Show a model layer by layer: shapes, parameters, multiply-adds, memory, and what gradcam --layer takes."""
    asked = locals()
    with session(ProgressMode.none, quiet=False, json=json) as console:
        read = None if size is None else parse_size("--size", size)
        config = settings(ShowModelConfig, asked, model=name, size=read)
        from cvkit.commands.models.showing import show_model as task

        result = task(config)
        console.result(result)
        _show_model(console, result)


@app.command("download")
def download(
    name: Name,
    to: Annotated[str | None, typer.Option(help="Also copy the file to this folder.", metavar="DIR")] = (
        DownloadModelConfig.to
    ),
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Fetch a classifier's weights into the cache that torchvision and timm use, and print the file's path."""
    asked = locals()
    with session(ProgressMode.none, quiet, json) as console:
        config = settings(DownloadModelConfig, asked, model=name)
        from cvkit.commands.models.files import download_model as task

        _show_file(console, task(config, console.listen))


@app.command("path")
def path(name: Name, json: o.Json = False) -> None:
    """Print where a classifier's weights lie on this machine; an error where they do not."""
    with session(ProgressMode.none, quiet=False, json=json) as console:
        config = ModelConfig(model=name)
        from cvkit.commands.models.files import model_path as task

        _show_file(console, task(config))


def _show_file(console: Console, found: "ModelFile") -> None:
    console.result(found)
    console.lines(found.path)


def _show_list(console: Console, result: "ListModelsResult") -> None:
    rows: list[Row] = []
    for model in result.models:
        first = model.weights[0] if model.weights else None
        size, top1 = (human(first.bytes, "B"), _percent(first.top1)) if first else ("-", "-")
        default = first.tag or "-" if first else "-"
        rows.append([model.name, model.library, top1, size, str(len(model.weights)), default])
    columns = ["model", "library", "top-1 %", "file", "tags", "default"]
    console.lines(*_table(columns, _folded(columns, rows, "_"), left=(0, 1, 5)))


def _show_model(console: Console, result: "ShowModelResult") -> None:
    columns = ["model", f"{result.model} ({result.library})"]
    console.lines(*_table(columns, _folded(columns, _facts(result), " "), left=(0, 1)), "")
    rows: list[Row | str] = []
    for entry in result.weights:
        licence = entry.licence or "-"
        cells = [_by(entry.preprocessing.crop), _percent(entry.top1), human(entry.bytes, "B"), str(entry.classes)]
        rows.append([entry.tag or "-", *cells, "here" if entry.cached else "-", "own" if "://" in licence else licence])
        rows.append(f"  {entry.source}")
        if "://" in licence:
            rows.append(f"  licence {licence}")
    if rows:
        columns = ["weights", "input", "top-1 %", "file", "classes", "cache", "licence"]
        console.lines(*_table(columns, rows, left=(0, 5, 6)), "")
    _show_layers(console, result)
    _show_needs(console, result)


def _facts(result: "ShowModelResult") -> list[Row]:
    rows: list[Row] = [["what", result.summary]] if result.summary else []
    if result.paper:
        rows.append(["paper", result.paper])
    rows += [
        ["parameters", f"{result.parameters:,}: {human(result.parameters * BYTES_A_NUMBER, 'B')} at 4 bytes each"],
        ["multiply-adds", f"{result.multiply_adds // result.batch:,} for an image of {_by(result.size)}"],
    ]
    if result.min_size:
        rows.append(["smallest input", _by((result.min_size, result.min_size))])
    way = result.preprocessing
    if way is None:
        return rows
    brought = f"shorter side to {way.resize}" if isinstance(way.resize, int) else f"the whole to {_by(way.resize)}"
    return [
        *rows,
        ["classes", str(result.classes)],
        ["input", f"{brought} ({way.interpolation}), then the middle {_by(way.crop)}, scaled to 0..1"],
        ["normalised", f"mean {_numbers(way.mean)}, deviation {_numbers(way.std)} (red, green, blue)"],
        ["gradcam looks at", result.default_target or f"nothing: no layer has places for {_by(result.size)}"],
    ]


def _show_layers(console: Console, result: "ShowModelResult") -> None:
    default = result.default_target
    grids = {t.name: f"* {_by(t.grid)}" if t.name == default else _by(t.grid) for t in result.targets}
    columns = ["layer", "kind", "output", "params", "mult-adds", "memory", "grid"]
    rows: list[Row] = []
    for layer in result.layers:
        costs = [human(layer.parameters), human(layer.multiply_adds), human(layer.activation_bytes, "B")]
        rows.append([layer.name, layer.kind, _by(layer.output), *costs, grids.get(layer.name, "")])
    if not grids:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    console.lines(*_table(columns, _grouped(rows, _room(columns, rows, 0)), left=(0, 1, 2)), "")
    shown = {layer.name for layer in result.layers}
    others: list[Row] = [[t.name, _by(t.output), grids[t.name]] for t in result.targets if t.name not in shown]
    if others:
        columns = ["gradcam --layer also takes", "output", "grid"]
        console.lines(*_table(columns, _grouped(others, _room(columns, others, 0)), left=(0, 1)), "")
    if grids:
        console.lines(
            "gradcam --layer takes all with a grid (rows x columns of the map); * is its default.",
            "A layer that hands on what it gets, as dropout does here, stands for the one before it.",
            "",
        )


def _show_needs(console: Console, result: "ShowModelResult") -> None:
    pair = [f"{one.name or ITSELF}, {human(one.activation_bytes, 'B')}" for one in result.inference_layers or ()]
    needs: list[Row] = [
        ["multiply-adds", human(result.multiply_adds), "of convolutions, linear layers and matrix products"],
        ["memory in training", human(result.training_bytes, "B"), "all outputs: the backward pass wants them"],
        ["memory in inference", human(result.inference_bytes, "B"), "two outputs in a row, the largest"],
        *(["", "", name] for name in pair),
    ]
    images = f"{result.batch} image{'s' if result.batch > 1 else ''} of {_by(result.size)}"
    console.lines(*_table([images, "", "memory is 4 bytes a number of a layer's output"], needs, left=(0, 2)))
