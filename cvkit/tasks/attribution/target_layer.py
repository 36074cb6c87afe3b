"""Find the target layer of a CAM method: the last layer with a spatial grid, or a layer by name."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError
from cvkit.messages import nearest
from cvkit.models.dry_run import BuildNetwork, Call, DryRun, Rectified, Shape, Value, dry_run

RELU = "+relu"
ADVICE = "`cvkit models show NAME` lists the possible layers."
ATTENTION = re.compile("Attention|Attn")  # in the names of module classes
MAX_PREFIX_TOKENS = 16  # class, distillation and register tokens together
# Largest difference between the log aspect ratios of a grid and of the image. It is above 0 because convolutions
# without padding remove some rows and columns.
MAX_SKEW = math.log(1.3)
IMPOSSIBLE = 9.0  # skew of a grid that is empty or larger than the image

Grid = tuple[int, int]


def default_target(build: BuildNetwork, input_shape: Shape, num_classes: int) -> TargetLayer:
    """Return the last layer of a network whose output has a spatial grid.

    In a convolutional network this is the end of the last stage, before the pooling and before convolutions with one
    output channel per class. In a transformer it is the input of the last attention: the class token reads nothing
    from the patches after that, so that no gradient reaches them there.

    Args:
        build: Function that returns the network.
        input_shape: Shape of the images, (N, 3, H, W).
        num_classes: Number of classes of the network.

    Raises:
        UsageError: If no layer has a spatial grid.
    """
    survey = _Survey(dry_run(build, input_shape))
    target = survey.last(num_classes)
    if target is not None and target.layout == "tokens":
        target = survey.last_attended(num_classes) or target
    if target is None:
        raise UsageError(
            f"No layer of the network has a spatial grid for images of {input_shape[2]}x{input_shape[3]} pixels. "
            "Use larger images, or a network of convolutions or patches."
        )
    return target


def named_target(build: BuildNetwork, input_shape: Shape, name: str) -> TargetLayer:
    """Return a layer of a network by its name.

    Args:
        build: Function that returns the network.
        input_shape: Shape of the images, (N, 3, H, W).
        name: Name of a module ("features.29"), or with "+relu" ("features.norm5+relu") the ReLU after the module, if
            that ReLU has no name of its own: a function, or a module that runs more than once.

    Raises:
        UsageError: If there is no such layer, if it does not run or runs more than once, if its output has no spatial
            grid, or if no such ReLU follows it. The message names ``--layer``.
    """
    run = dry_run(build, input_shape)
    survey = _Survey(run)
    module = name.removesuffix(RELU)
    modules = {module for module, _ in run.network.named_modules() if module}
    if module not in modules:
        raise UsageError(f"--layer {name}: the network has no layer '{module}'.{nearest(module, modules)} {ADVICE}")
    calls = [call for call in run.calls if call.name == module]
    if not calls:
        raise UsageError(f"--layer {name}: the network does not run this layer for a prediction. {ADVICE}")
    if len(calls) > 1:
        raise UsageError(
            f"--layer {name}: the network runs this layer {len(calls)} times; use a layer that contains it. {ADVICE}"
        )
    target = survey.targets.get(calls[0])
    if target is None:
        shape = "" if calls[0].output is None else f" {tuple(calls[0].output.shape)}"
        raise UsageError(f"--layer {name}: the output{shape} of this layer has no spatial grid. {ADVICE}")
    if name == module:
        return target
    if calls[0].result not in survey.unnamed_relus:
        raise UsageError(f"--layer {name}: the network applies no ReLU function to '{module}'; leave out '{RELU}'.")
    return replace(target, relu=True)


def list_target_layers(build: BuildNetwork, input_shape: Shape) -> list[tuple[str, tuple[int, ...], str]]:
    """Return (name, output shape, layout) of each layer that ``named_target`` accepts, in the order they run.

    Layers that return their input unchanged are left out. "NAME+relu" is listed if no module has that output.
    """
    survey = _Survey(dry_run(build, input_shape))
    layers = []
    for step in survey.run.steps:
        call: Call | None
        if isinstance(step, Call):
            call, suffix = (step if step in survey.producers.get(step.result, ()) else None), ""
        else:
            call, suffix = survey.module_before(step), RELU
        if call is not None and call.output is not None:
            layers.append((call.name + suffix, tuple(call.output.shape), survey.targets[call].layout))
    return layers


class _Survey:
    """The calls of a dry run whose outputs have a spatial grid, and the names that stand for the same output.

    Attributes:
        run: The dry run.
        reader: Reader of output shapes.
        targets: Target layer of each call whose output has a spatial grid.
        times: Number of calls of each module, by name.
        producers: Calls that returned each value, inner modules first; only modules that run once and change the value.
        unnamed_relus: ReLU without a name of its own, by the value that it is applied to.
        first_weighted: Name of the first module with parameters of its own.
        last_weighted: Step at which the last module with parameters of its own began.
    """

    def __init__(self, run: DryRun) -> None:
        self.run = run
        self.reader = _ShapeReader(run)
        self.targets: dict[Call, TargetLayer] = {}
        for call in run.calls:
            target = self.reader.target(call)
            if target is not None:
                self.targets[call] = target
        self.times = Counter(call.name for call in run.calls)
        self.producers: dict[Value | None, list[Call]] = {}
        for call in self.targets:
            if call.name and self.times[call.name] == 1 and not _returns_input(call):
                self.producers.setdefault(call.result, []).append(call)
        self.unnamed_relus = {
            step.before: step for step in run.steps if isinstance(step, Rectified) and self._is_unnamed(step)
        }
        weighted = [call for call in run.calls if next(call.module.parameters(recurse=False), None) is not None]
        self.first_weighted = weighted[0].name if weighted else ""
        self.last_weighted = max((call.start for call in weighted), default=0)

    def _is_unnamed(self, relu: Rectified) -> bool:
        """Return whether a ReLU is a function, or a module that runs more than once."""
        caller = relu.caller
        if relu.before not in self.producers:
            return False
        if caller.is_leaf:
            return self.times[caller.name] > 1
        return any(caller in producer.ancestors() for producer in self.producers[relu.before])

    def module_before(self, relu: Rectified) -> Call | None:
        """Return the call whose name with "+relu" is the only name of the output of a ReLU."""
        if self.unnamed_relus.get(relu.before) is relu and relu.after not in self.producers:
            return self.best_producer(relu.before)
        return None

    def best_producer(self, value: Value | None) -> Call | None:
        """Return the outermost call that returned a value and does not contain the first layer with parameters.

        For the end of a stage this is the stage, and not the container of all stages.
        """
        producers = self.producers.get(value, [])
        stages = [call for call in producers if not self.first_weighted.startswith(f"{call.name}.")]
        return stages[-1] if stages else next(iter(producers), None)

    def last(self, num_classes: int, before: int | None = None) -> TargetLayer | None:
        """Return the last output with a grid, among the first ``before`` steps, that is neither pooled nor one map per
        class.
        """
        for i, step in reversed(list(enumerate(self.run.steps[:before]))):
            relu = isinstance(step, Rectified)
            value = step.after if isinstance(step, Rectified) else step.result
            call = self.module_before(step) if isinstance(step, Rectified) else self.best_producer(value)
            if call is None or value in self.run.pooled:
                continue
            if i >= self.last_weighted and _channels(call, self.targets[call]) == num_classes:
                continue
            return replace(self.targets[call], relu=relu)
        return None

    def last_attended(self, num_classes: int) -> TargetLayer | None:
        """Return the layer whose output is the input of the last attention."""
        attentions = [call for call in self.run.calls if _is_attention(call)]
        outer = {ancestor for call in attentions for ancestor in call.ancestors()}
        for call in reversed(attentions):
            if call in outer or not call.inputs or self.reader.read(tuple(call.arguments[0].shape)) is None:
                continue
            producer = self.best_producer(call.inputs[0])
            return self.targets[producer] if producer is not None else self.last(num_classes, call.start)
        return None


def _channels(call: Call, target: TargetLayer) -> int:
    assert call.output is not None
    return call.output.shape[1 if target.layout == "nchw" else -1]


def _is_attention(call: Call) -> bool:
    return call.attends or ATTENTION.search(type(call.module).__name__) is not None


def _returns_input(call: Call) -> bool:
    """Return whether a call returned its input, or a view of it such as a permutation of the dimensions."""
    if call.output is None or call.result in call.inputs:
        return True
    storage = call.output.untyped_storage()._cdata
    return any(tensor is not call.output and tensor.untyped_storage()._cdata == storage for tensor in call.arguments)


class _ShapeReader:
    """Decides by the shape of an output whether it has a spatial grid, and in which layout.

    The layouts are nchw, nhwc and tokens (N, prefix + h * w, C). It remembers the grids of earlier outputs, because
    tokens have no height and width of their own.
    """

    def __init__(self, run: DryRun) -> None:
        self.batch = run.input_shape[0]
        self.size = run.input_shape[2:]
        self.grids: list[Grid] = []  # of the four-dimensional outputs so far
        fixed = getattr(run.network, "num_prefix_tokens", None)  # timm
        self.prefixes: Sequence[int] = [fixed] if isinstance(fixed, int) else range(MAX_PREFIX_TOKENS + 1)

    def target(self, call: Call) -> TargetLayer | None:
        """Return the layout of the output of a call; None if it has no grid.

        Four-dimensional outputs inside an attention over tokens are heads and attention weights, which have none.
        """
        if call.output is None:
            return None
        inside = any(
            _is_attention(ancestor) and ancestor.arguments and ancestor.arguments[0].dim() == 3
            for ancestor in call.ancestors()
        )
        reading = None if inside and call.output.dim() == 4 else self.read(tuple(call.output.shape))
        if reading is None:
            return None
        layout, grid, prefix = reading
        if layout != "tokens" and grid not in self.grids:
            self.grids.append(grid)
        return TargetLayer(name=call.name, relu=False, layout=layout, grid=grid, prefix=prefix)

    def read(self, shape: tuple[int, ...]) -> tuple[str, Grid, int] | None:
        """Return (layout, grid, number of prefix tokens) of an output shape; None if it has at most one position."""
        if not shape or shape[0] != self.batch:
            return None
        if len(shape) == 3:
            return self._tokens(shape[1], shape[2])
        if len(shape) != 4:
            return None
        layouts = [("nchw", (shape[2], shape[3])), ("nhwc", (shape[1], shape[2]))]
        layout, grid = min(layouts, key=lambda candidate: self._skew(candidate[1]))
        return (layout, grid, 0) if self._is_map(grid) else None

    def _tokens(self, count: int, channels: int) -> tuple[str, Grid, int] | None:
        """Return the layout of ``count`` tokens: the grid of an earlier output, else one like the image."""
        earlier = [(count - math.prod(grid), grid) for grid in reversed(self.grids)]
        earlier = [(prefix, grid) for prefix, grid in earlier if 0 <= prefix <= MAX_PREFIX_TOKENS]
        if earlier:
            prefix, grid = min(earlier, key=lambda candidate: candidate[0])
            return "tokens", grid, prefix
        areas = [math.prod(grid) for grid in self.grids]
        if channels in areas or count > max(areas, default=count):
            return None  # (N, C, tokens), as inside the token mixing of MLP-Mixer
        candidates = [(prefix, grid) for prefix in self.prefixes for grid in self._grids(count - prefix)]
        prefix, grid = min(
            candidates, key=lambda candidate: (self._skew(candidate[1]), candidate[0]), default=(0, (1, 1))
        )
        return ("tokens", grid, prefix) if self._is_map(grid) else None

    def _grids(self, positions: int) -> Iterator[Grid]:
        """Yield the grids with a number of positions and about the aspect ratio of the image."""
        rows = math.sqrt(max(0, positions) * self.size[0] / self.size[1])
        for count in range(max(1, int(rows * 0.8)), int(rows * 1.25) + 1):
            if positions % count == 0:
                yield count, positions // count

    def _skew(self, grid: Grid) -> float:
        """Return the absolute difference between the log aspect ratios of a grid and of the image."""
        (height, width), (rows, columns) = self.size, grid
        return (
            abs(math.log(rows * width / (columns * height)))
            if 0 < rows <= height and 0 < columns <= width
            else IMPOSSIBLE
        )

    def _is_map(self, grid: Grid) -> bool:
        """Return whether a grid has several positions and, up to padding, the aspect ratio of the image."""
        (height, width), (rows, columns) = self.size, grid
        near = abs(rows - columns * height / width) <= 1 or abs(columns - rows * width / height) <= 1
        return math.prod(grid) > 1 and self._skew(grid) < IMPOSSIBLE and (near or self._skew(grid) <= MAX_SKEW)
