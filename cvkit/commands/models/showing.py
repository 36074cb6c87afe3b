"""Show a model layer by layer, with its costs."""

from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from cvkit.catalog import CLASSIFIERS, SALIENCY_MODELS, TIMM_PREFIX, Preprocessing
from cvkit.commands.models.catalogue import LIBRARY, Weights, check_classifier, describe_weights
from cvkit.config import ShowModelConfig
from cvkit.config.values import format_size
from cvkit.errors import UsageError
from cvkit.models.dry_run import BuildNetwork, Shape
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.network import is_exported
from cvkit.models.exported.reading import read_facts
from cvkit.models.loaded import Request
from cvkit.models.published import pretrained
from cvkit.models.published.table import without_labels
from cvkit.models.summary import Layer, summarise
from cvkit.tasks.attribution.target_layer import RELU, default_target, list_target_layers, named_target
from cvkit.tasks.classification.arguments import check_arguments
from cvkit.tasks.classification.specification import NetworkSpec, own_facts
from cvkit.tasks.registry import KINDS, export_model, find_file, load_model
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build


@dataclass(frozen=True, kw_only=True)
class Target:
    """A layer that ``gradcam --layer`` accepts.

    Attributes:
        name: Its dotted name.
        output: Shape of its output for one image.
        layout: Order of the dimensions: nchw, nhwc or tokens.
        grid: (height, width) of the map.
    """

    name: str
    output: tuple[int, ...]
    layout: str
    grid: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ShowModelResult:
    """The layers of a model, and what it needs for ``batch`` images of ``size`` (height, width).

    ``multiply_adds`` and bytes are those of the whole batch.

    Attributes:
        model: Its name, or the reference of a file.
        library: cvkit, torchvision or timm.
        summary: Description of a saliency network.
        paper: Source of a saliency network.
        min_size: Smallest side in pixels of a saliency network's input.
        classes: Number of classes of a classifier.
        labels: Label of each class of a trained classifier.
        preprocessing: Preprocessing of a classifier's named weights, or of a trained classifier.
        weights: Pretrained weights of a classifier.
        size: (height, width) of the images in pixels.
        batch: Number of images.
        parameters: Number of parameters.
        multiply_adds: Multiply-adds of convolutions, linear layers and matrix products.
        training_bytes: Memory of all outputs.
        inference_bytes: Memory of the two largest consecutive outputs.
        inference_layers: The layers of these two outputs; None if they are not two consecutive rows of ``layers``.
        layers: The layers in the order of execution.
        default_target: Default layer of ``gradcam``.
        targets: The layers that ``gradcam --layer`` accepts.
    """

    model: str
    library: str
    summary: str = ""
    paper: str | None = None
    min_size: int | None = None
    classes: int | None = None
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    weights: tuple[Weights, ...] = ()
    size: tuple[int, int]
    batch: int
    parameters: int
    multiply_adds: int
    training_bytes: int
    inference_bytes: int
    inference_layers: tuple[Layer, Layer] | None
    layers: tuple[Layer, ...]
    default_target: str | None = None
    targets: tuple[Target, ...] = ()


def show_model(config: ShowModelConfig) -> ShowModelResult | Facts:
    """Return the layers of a model by a dry run, in which nothing is computed.

    Of an exported file with a graph, the metadata are returned instead: its layers are not known.

    Raises:
        UsageError: If the name is unknown, or the network cannot process images of the size.
        WeightsError: If a file cannot be used.
    """
    path = find_file(config.model)
    if config.model_arg and (path is not None or config.model in (*SALIENCY_MODELS, *CLASSIFIERS)):
        raise UsageError(f"--model-arg is for classifiers of torchvision and timm: leave it out for {config.model}.")
    if path is not None:
        return read_facts(path) if is_exported(str(path)) else _show_file(config, path)
    if config.model in SALIENCY_MODELS:
        return _show_saliency(config)
    return _show_own_classifier(config) if config.model in CLASSIFIERS else _show_classifier(config)


def _show_file(config: ShowModelConfig, path: Path) -> ShowModelResult:
    """Show the network of a run, a checkpoint or a safetensors file."""
    facts = export_model(load_model(Request(name=str(path))), "whole").facts
    size = config.size or facts.size
    kind = KINDS[facts.kind]
    own = CLASSIFIERS.get(facts.model)
    if size != facts.size and (not kind.any_size or (own is not None and own.fixed_size)):
        raise UsageError(f"--size {format_size(size)}: the model takes images of {format_size(facts.size)} only.")
    build = partial(kind.rebuild, facts)
    classifier: dict[str, Any] = {}
    if (preprocessing := facts.classifier_preprocessing) is not None:
        classes = facts.spec["classes"]
        default, targets = _targets(build, (1, facts.channels, *size), classes)
        classifier = {"classes": classes, "labels": facts.labels, "preprocessing": preprocessing}
        classifier |= {"default_target": default, "targets": targets}
    return ShowModelResult(
        model=f"{facts.model} from {config.model}",
        library=LIBRARY,
        summary=f"{kind.title}, trained" if facts.weights_sha256 else kind.title,
        size=size,
        batch=config.batch,
        **classifier,
        **_costs(build, (config.batch, facts.channels, *size)),
    )


def _show_saliency(config: ShowModelConfig) -> ShowModelResult:
    facts = SALIENCY_MODELS[config.model]
    size = config.size or facts.size
    if min(size) < facts.min_size:
        raise UsageError(
            f"--size {format_size(size)} is too small: {facts.name} needs {facts.min_size} pixels per side."
        )
    return ShowModelResult(
        model=facts.name,
        library=LIBRARY,
        summary=facts.summary,
        paper=facts.source,
        min_size=facts.min_size,
        size=size,
        batch=config.batch,
        **_costs(partial(build, SaliencySpec.of(facts.name)), (config.batch, 3, *size)),
    )


def _show_own_classifier(config: ShowModelConfig) -> ShowModelResult:
    about, facts = CLASSIFIERS[config.model], own_facts(config.model, config.size)
    size = facts.preprocessing.crop
    spec = NetworkSpec(name=about.name, classes=facts.num_classes, size=size)
    costs = _costs(spec.build, (config.batch, 3, *size))
    default, targets = _targets(spec.build, spec.shape, spec.classes)
    return ShowModelResult(
        model=about.name,
        library=LIBRARY,
        summary=about.summary,
        paper=about.source,
        min_size=about.min_size,
        classes=facts.num_classes,
        preprocessing=facts.preprocessing,
        size=size,
        batch=config.batch,
        default_target=default,
        targets=targets,
        **costs,
    )


def _show_classifier(config: ShowModelConfig) -> ShowModelResult:
    check_classifier(config.model, "MODEL")
    facts = pretrained.facts(config.model)
    size = config.size or facts.preprocessing.crop
    spec = NetworkSpec(name=facts.name, classes=facts.num_classes, size=size, arguments=config.model_arg)
    if config.model_arg:
        check_arguments(spec)
    costs = _costs(spec.build, (config.batch, 3, *size))
    default, targets = _targets(spec.build, spec.shape, spec.classes)
    return ShowModelResult(
        model=facts.name,
        library="timm" if facts.model.startswith(TIMM_PREFIX) else "torchvision",
        classes=facts.num_classes,
        preprocessing=facts.preprocessing,
        weights=describe_weights(map(without_labels, pretrained.entries(config.model))),
        size=size,
        batch=config.batch,
        default_target=default,
        targets=targets,
        **costs,
    )


def _costs(blueprint: BuildNetwork, shape: Shape) -> dict[str, Any]:
    """Return the layers of a network and their costs, as fields of the result."""
    summary = summarise(blueprint, shape)
    layers = [layer for layer in summary.layers if layer.activation_bytes]
    pairs = (
        pair for pair in pairwise(layers) if sum(each.activation_bytes for each in pair) == summary.inference_bytes
    )
    costs = {field.name: getattr(summary, field.name) for field in fields(summary)}
    return costs | {"inference_layers": next(pairs, None)}


def _targets(blueprint: BuildNetwork, shape: Shape, classes: int) -> tuple[str | None, tuple[Target, ...]]:
    """Return the default target layer and all possible ones; None and () if no layer has a spatial grid."""
    layers = list_target_layers(blueprint, shape)
    if not layers:
        return None, ()
    default = default_target(blueprint, shape, classes)
    grids: dict[int, tuple[int, ...]] = {}  # by the number of tokens, whose arrangement the shape does not show
    targets = []
    for name, output, layout in layers:
        if layout == "tokens" and output[1] not in grids:
            grids[output[1]] = named_target(blueprint, shape, name).grid
        grid = grids[output[1]] if layout == "tokens" else output[2:] if layout == "nchw" else output[1:3]
        targets.append(Target(name=name, output=output, layout=layout, grid=(grid[0], grid[1])))
    return default.name + (RELU if default.relu else ""), tuple(targets)
