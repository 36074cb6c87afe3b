"""Show the layers, the costs and the pretrained weights of a model that can be used by name."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any

from cvkit.catalog import SALIENCY_MODELS, TIMM_PREFIX, Preprocessing, Pretrained
from cvkit.config import ShowModelConfig
from cvkit.errors import UsageError
from cvkit.models import fetch
from cvkit.models.dry_run import Build, Shape
from cvkit.models.published import pretrained
from cvkit.models.summary import Layer, summarise
from cvkit.tasks.attribution.target_layer import RELU, default_target, list_target_layers, named_target
from cvkit.tasks.classification import loading
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build

NAME = "NAME"  # the argument that messages speak of
OURS = "cvkit"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One entry of a classifier's pretrained weights.

    ``name`` means this entry and no other. ``labels`` tells whether the names of its classes are known, ``top1`` is the
    accuracy on ImageNet in per cent, ``source`` a URL or a repository of the Hugging Face hub, and ``cached`` the file
    on this machine; None is what is not known or not there.
    """

    name: str
    tag: str | None
    classes: int
    labels: bool
    top1: float | None
    licence: str | None
    bytes: int | None
    source: str
    cached: str | None
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True)
class Target:
    """A layer that ``gradcam --layer`` takes: its output's shape for one image, how that lies, and the map's (h, w)."""

    name: str
    output: tuple[int, ...]
    layout: str
    grid: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ShowModelResult:
    """What a model is, and what it needs for ``batch`` images of ``size`` (height, width).

    ``paper`` and ``min_size`` are known of our saliency networks only; ``classes``, ``preprocessing`` (that of the
    entry asked for), ``weights``, ``targets`` and ``default_target`` of classifiers only. ``multiply_adds`` and bytes
    are those of the whole batch. ``inference_layers`` are the two in a row whose outputs make up ``inference_bytes``,
    None where these are no two rows of ``layers``.
    """

    model: str
    library: str
    summary: str = ""
    paper: str | None = None
    min_size: int | None = None
    classes: int | None = None
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


def show_model(config: ShowModelConfig) -> ShowModelResult:
    """Return what a model is made of, layer by layer, by a dry run in which nothing is computed.

    Raises UsageError for an unknown name, and for a size that the network cannot process.
    """
    return _show_saliency(config) if config.model in SALIENCY_MODELS else _show_classifier(config)


def _show_saliency(config: ShowModelConfig) -> ShowModelResult:
    facts = SALIENCY_MODELS[config.model]
    size = config.size or facts.size
    if min(size) < facts.min_size:
        raise UsageError(f"--size {size[0]}x{size[1]} is too small: {facts.name} needs {facts.min_size} pixels a side.")
    return ShowModelResult(
        model=facts.name,
        library=OURS,
        summary=facts.summary,
        paper=facts.source,
        min_size=facts.min_size,
        size=size,
        batch=config.batch,
        **_needs(partial(build, SaliencySpec.of(facts.name)), (config.batch, 3, *size)),
    )


def _show_classifier(config: ShowModelConfig) -> ShowModelResult:
    _check(config.model)
    facts = pretrained.facts(config.model)
    size = config.size or facts.preprocessing.crop
    build = loading.blueprint(facts.name, facts.num_classes)
    needs = _needs(build, (config.batch, 3, *size))
    default, targets = _targets(build, (1, 3, *size), facts.num_classes)
    return ShowModelResult(
        model=facts.name,
        library="timm" if facts.model.startswith(TIMM_PREFIX) else "torchvision",
        classes=facts.num_classes,
        preprocessing=facts.preprocessing,
        weights=_weights(pretrained.entries(config.model)),
        size=size,
        batch=config.batch,
        default_target=default,
        targets=targets,
        **needs,
    )


def _needs(build: Build, shape: Shape) -> dict[str, Any]:
    """Return the layers of a network and what they cost together, as fields of the result."""
    found = summarise(build, shape)
    made = [layer for layer in found.layers if layer.activation_bytes]
    pairs = (pair for pair in pairwise(made) if sum(one.activation_bytes for one in pair) == found.inference_bytes)
    return {field.name: getattr(found, field.name) for field in fields(found)} | {"inference_layers": next(pairs, None)}


def _targets(build: Build, shape: Shape, classes: int) -> tuple[str | None, tuple[Target, ...]]:
    """Return the default target layer's name, and all layers that can be named; None and () where none has places."""
    found = list_target_layers(build, shape)
    if not found:
        return None, ()
    default = default_target(build, shape, classes)
    grids: dict[int, tuple[int, ...]] = {}  # of so many tokens: what shape they lie in does not show
    targets = []
    for name, output, layout in found:
        if layout == "tokens" and output[1] not in grids:
            grids[output[1]] = named_target(build, shape, name).grid
        grid = grids[output[1]] if layout == "tokens" else output[2:] if layout == "nchw" else output[1:3]
        targets.append(Target(name=name, output=output, layout=layout, grid=(grid[0], grid[1])))
    return default.name + (RELU if default.relu else ""), tuple(targets)


def _weights(entries: Iterable[Pretrained]) -> tuple[Weights, ...]:
    return tuple(_known(entry) for entry in entries if entry.source)


def _known(entry: Pretrained) -> Weights:
    here = fetch.cached(entry)
    return Weights(
        name=entry.name,
        tag=entry.tag,
        classes=entry.num_classes,
        labels=bool(entry.labels),
        top1=entry.top1,
        licence=entry.licence,
        bytes=here.stat().st_size if here else entry.file_bytes,
        source=entry.source,
        cached=str(here) if here else None,
        preprocessing=entry.preprocessing,
    )


def _check(name: str) -> None:
    """Raise UsageError for an unknown name, with the nearest of all that are known, our own networks too."""
    try:
        pretrained.check_name(name, NAME)
    except UsageError as error:
        near = _nearest(name)
        if near in SALIENCY_MODELS:
            raise UsageError(f"{NAME}: there is no model '{name}'. Did you mean '{near}'?") from error
        raise


def _nearest(word: str) -> str | None:
    """Return the model whose name is most like a word or pattern, None where none is."""
    bare = re.sub(r"[*?\[\]]", "", word).lower().removeprefix(TIMM_PREFIX)
    known = {name.removeprefix(TIMM_PREFIX): name for name, _ in reversed(pretrained.names())}
    known |= {name: name for name in SALIENCY_MODELS}
    near = difflib.get_close_matches(bare, known, n=1)
    return known[near[0]] if near else None
