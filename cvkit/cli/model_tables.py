"""Print the layers of a model and the memory that they need."""

from typing import TYPE_CHECKING

from cvkit.cli.console import Console
from cvkit.cli.tables import ITSELF, Row, column_room, format_table, group_by_module, human_number, join_sides

if TYPE_CHECKING:
    from cvkit.commands.models.showing import ShowModelResult


def show_layers(console: Console, result: "ShowModelResult") -> None:
    """Print one row per layer, and the other layers that ``gradcam --layer`` accepts."""
    default = result.default_target
    grids = {t.name: f"* {join_sides(t.grid)}" if t.name == default else join_sides(t.grid) for t in result.targets}
    columns = ["layer", "kind", "output", "params", "mult-adds", "memory", "grid"]
    rows: list[Row] = []
    for layer in result.layers:
        costs = [human_number(layer.parameters), human_number(layer.multiply_adds)]
        costs.append(human_number(layer.activation_bytes, "B"))
        rows.append([layer.name, layer.kind, join_sides(layer.output), *costs, grids.get(layer.name, "")])
    if not grids:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    console.lines(*format_table(columns, group_by_module(rows, column_room(columns, rows, 0)), left=(0, 1, 2)), "")
    listed = {layer.name for layer in result.layers}
    others: list[Row] = [[t.name, join_sides(t.output), grids[t.name]] for t in result.targets if t.name not in listed]
    if others:
        columns = ["other layers for gradcam --layer", "output", "grid"]
        console.lines(*format_table(columns, group_by_module(others, column_room(columns, others, 0)), left=(0, 1)), "")
    if grids:
        console.lines(
            "gradcam --layer accepts every layer with a grid (rows x columns of the map); * marks its default.",
            "A layer that returns its input unchanged, as dropout does here, stands for the layer before it.",
            "",
        )


def show_memory(console: Console, result: "ShowModelResult") -> None:
    """Print the multiply-adds, and the memory that training and inference need."""
    pair = [f"{one.name or ITSELF}, {human_number(one.activation_bytes, 'B')}" for one in result.inference_layers or ()]
    rows: list[Row] = [
        ["multiply-adds", human_number(result.multiply_adds), "of convolutions, linear layers and matrix products"],
        ["memory in training", human_number(result.training_bytes, "B"), "all outputs, for the backward pass"],
        ["memory in inference", human_number(result.inference_bytes, "B"), "the two largest consecutive outputs"],
        *(["", "", name] for name in pair),
    ]
    images = f"{result.batch} image{'s' if result.batch > 1 else ''} of {join_sides(result.size)}"
    console.lines(*format_table([images, "", "memory is 4 bytes per value of a layer's output"], rows, left=(0, 2)))
