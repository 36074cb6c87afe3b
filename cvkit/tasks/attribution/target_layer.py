"""The layer that Grad-CAM looks at: the last one with places, found by a dry run, or the one that a user names."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cvkit.catalog import TargetLayer
from cvkit.errors import UsageError, nearest
from cvkit.models.dry_run import BuildNetwork, Call, DryRun, Rectified, Shape, Value, dry_run

RELU = "+relu"
LIST = "`cvkit models show NAME` lists the layers that can be named."
ATTENTION = re.compile("Attention|Attn")
MOST_PREFIX = 16  # class, distillation and register tokens together
# How far the shape of a map may be from that of the image: convolutions without padding lose some rows and columns.
MOST_SKEW = math.log(1.3)

Grid = tuple[int, int]


def default_target(build: BuildNetwork, input_shape: Shape, num_classes: int) -> TargetLayer:
    """Return the last layer with places of the network that ``build`` makes, for images (N, 3, H, W).

    That is the end of the last convolution stage, ahead of the pooling and of convolutions that give a map per class.
    In a transformer with tokens it is what the last attention reads: a class token takes nothing from the patches
    after that, so that no gradient reaches them there. Raises UsageError when no layer has places.
    """
    survey = _Survey(dry_run(build, input_shape))
    found = survey.last(num_classes)
    if found is not None and found.layout == "tokens":
        found = survey.last_attended(num_classes) or found
    if found is None:
        raise UsageError(
            f"No layer of the network gives a map of more than one place for images of {input_shape[2]}x"
            f"{input_shape[3]} pixels. Take a larger --size, or a network of convolutions or patches."
        )
    return found


def named_target(build: BuildNetwork, input_shape: Shape, name: str) -> TargetLayer:
    """Return the layer ``name`` ("features.29", "features.norm5+relu") of the network that ``build`` makes.

    "+relu" stands for a ReLU that has no name of its own: a function, or a module that runs more than once. Raises
    UsageError when there is no such layer, when it is not used or runs more than once, when its output has no places,
    and when no such ReLU follows it.
    """
    run = dry_run(build, input_shape)
    survey = _Survey(run)
    plain = name.removesuffix(RELU)
    known = {known for known, _ in run.network.named_modules() if known}
    if plain not in known:
        raise UsageError(f"--layer {name}: the network has no layer '{plain}'.{nearest(plain, known)} {LIST}")
    calls = [call for call in run.calls if call.name == plain]
    if not calls:
        raise UsageError(f"--layer {name}: the network does not run this layer for a prediction. {LIST}")
    if len(calls) > 1:
        raise UsageError(f"--layer {name}: the network runs this layer {len(calls)} times; name one around it. {LIST}")
    place = survey.places.get(calls[0])
    if place is None:
        shape = "" if calls[0].output is None else f" {tuple(calls[0].output.shape)}"
        raise UsageError(f"--layer {name}: the output{shape} of this layer has no places. {LIST}")
    if name == plain:
        return place
    if calls[0].result not in survey.bare_relus:
        raise UsageError(f"--layer {name}: the network applies no ReLU function to '{plain}'; leave out '{RELU}'.")
    return replace(place, relu=True)


def nameable(build: BuildNetwork, input_shape: Shape) -> list[tuple[str, tuple[int, ...], str]]:
    """Return (name, output shape, layout) of the layers that ``named_target`` takes, in the order they run.

    Layers that hand on their input as it is are left out, "NAME+relu" is listed where no module has that output.
    """
    survey = _Survey(dry_run(build, input_shape))
    found = []
    for step in survey.run.steps:
        call: Call | None
        if isinstance(step, Call):
            call, suffix = (step if step in survey.makers.get(step.result, ()) else None), ""
        else:
            call, suffix = survey.bare_maker(step), RELU
        if call is not None and call.output is not None:
            found.append((call.name + suffix, tuple(call.output.shape), survey.places[call].layout))
    return found


class _Survey:
    """Which calls of a dry run returned a map, and which names stand for the same map."""

    def __init__(self, run: DryRun) -> None:
        self.run = run
        self.reader = _Reader(run)
        self.places: dict[Call, TargetLayer] = {}
        for call in run.calls:
            place = self.reader.place(call)
            if place is not None:
                self.places[call] = place
        self.times = Counter(call.name for call in run.calls)
        # Of each value: the calls that made it, inner ones first.
        self.makers: dict[Value | None, list[Call]] = {}
        for call in self.places:
            if call.name and self.times[call.name] == 1 and not _hands_on(call):
                self.makers.setdefault(call.result, []).append(call)
        self.bare_relus = {
            step.before: step for step in run.steps if isinstance(step, Rectified) and self._is_bare(step)
        }
        weighted = [call for call in run.calls if next(call.module.parameters(recurse=False), None) is not None]
        self.first_weighted = weighted[0].name if weighted else ""
        self.last_weighted = max((call.start for call in weighted), default=0)

    def _is_bare(self, relu: Rectified) -> bool:
        """Whether a ReLU has no name of its own: a function, or a module that runs more than once."""
        caller = relu.caller
        if relu.before not in self.makers:
            return False
        if caller.is_leaf:
            return self.times[caller.name] > 1
        return any(caller in maker.ancestors() for maker in self.makers[relu.before])

    def bare_maker(self, relu: Rectified) -> Call | None:
        """Return the call whose name with "+relu" is the only one for the outcome of a ReLU."""
        if self.bare_relus.get(relu.before) is relu and relu.after not in self.makers:
            return self.best(relu.before)
        return None

    def best(self, value: Value | None) -> Call | None:
        """Return the call to name a value by: a whole stage, but not all the layers up to there."""
        makers = self.makers.get(value, [])
        stages = [call for call in makers if not self.first_weighted.startswith(f"{call.name}.")]
        return stages[-1] if stages else next(iter(makers), None)

    def last(self, num_classes: int, before: int | None = None) -> TargetLayer | None:
        """Return the last map that is neither pooled nor the classes' own, among the steps ``before``."""
        for i, step in reversed(list(enumerate(self.run.steps[:before]))):
            relu = isinstance(step, Rectified)
            value = step.after if isinstance(step, Rectified) else step.result
            call = self.bare_maker(step) if isinstance(step, Rectified) else self.best(value)
            if call is None or value in self.run.pooled:
                continue
            if i >= self.last_weighted and _channels(call, self.places[call]) == num_classes:
                continue
            return replace(self.places[call], relu=relu)
        return None

    def last_attended(self, num_classes: int) -> TargetLayer | None:
        """Return the map that the last attention reads."""
        attentions = [call for call in self.run.calls if _attends(call)]
        outer = {above for call in attentions for above in call.ancestors()}
        for call in reversed(attentions):
            if call in outer or not call.inputs or self.reader.read(tuple(call.arguments[0].shape)) is None:
                continue
            maker = self.best(call.inputs[0])
            return self.places[maker] if maker is not None else self.last(num_classes, call.start)
        return None


def _channels(call: Call, place: TargetLayer) -> int:
    assert call.output is not None
    return call.output.shape[1 if place.layout == "nchw" else -1]


def _attends(call: Call) -> bool:
    return call.attends or ATTENTION.search(type(call.module).__name__) is not None


def _hands_on(call: Call) -> bool:
    """Whether a call returned its input as it was, or in another order of dimensions only."""
    if call.output is None or call.result in call.inputs:
        return True
    storage = call.output.untyped_storage()._cdata
    return any(tensor is not call.output and tensor.untyped_storage()._cdata == storage for tensor in call.arguments)


class _Reader:
    """Tells from the shape of an output whether it is a map, and of what layout."""

    def __init__(self, run: DryRun) -> None:
        self.batch = run.input_shape[0]
        self.size = run.input_shape[2:]
        self.grids: list[Grid] = []  # of the four-dimensional maps met so far
        fixed = getattr(run.network, "num_prefix_tokens", None)  # timm
        self.prefixes: Sequence[int] = [fixed] if isinstance(fixed, int) else range(MOST_PREFIX + 1)

    def place(self, call: Call) -> TargetLayer | None:
        """Return the place of a call's output, without one for heads and weights inside an attention over tokens."""
        if call.output is None:
            return None
        inside = any(
            _attends(above) and above.arguments and above.arguments[0].dim() == 3 for above in call.ancestors()
        )
        found = None if inside and call.output.dim() == 4 else self.read(tuple(call.output.shape))
        if found is None:
            return None
        layout, grid, prefix = found
        if layout != "tokens" and grid not in self.grids:
            self.grids.append(grid)
        return TargetLayer(name=call.name, relu=False, layout=layout, grid=grid, prefix=prefix)

    def read(self, shape: tuple[int, ...]) -> tuple[str, Grid, int] | None:
        """Return (layout, grid, prefix) of a shape, None when it has no more than one place."""
        if not shape or shape[0] != self.batch:
            return None
        if len(shape) == 3:
            return self._tokens(shape[1], shape[2])
        if len(shape) != 4:
            return None
        readings = [("nchw", (shape[2], shape[3])), ("nhwc", (shape[1], shape[2]))]
        layout, grid = min(readings, key=lambda reading: self._skew(reading[1]))
        return (layout, grid, 0) if self._is_map(grid) else None

    def _tokens(self, count: int, channels: int) -> tuple[str, Grid, int] | None:
        """Return how ``count`` tokens lie: as in an earlier map, usually the patches, or in the shape of the image."""
        known = [(count - math.prod(grid), grid) for grid in reversed(self.grids)]
        known = [(prefix, grid) for prefix, grid in known if 0 <= prefix <= MOST_PREFIX]
        if known:
            prefix, grid = min(known, key=lambda one: one[0])
            return "tokens", grid, prefix
        areas = [math.prod(grid) for grid in self.grids]
        if channels in areas or count > max(areas, default=count):
            return None  # channels first, as where a mixer mixes the places
        shaped = [(prefix, grid) for prefix in self.prefixes for grid in self._grids(count - prefix)]
        prefix, grid = min(shaped, key=lambda one: (self._skew(one[1]), one[0]), default=(0, (1, 1)))
        return ("tokens", grid, prefix) if self._is_map(grid) else None

    def _grids(self, places: int) -> Iterator[Grid]:
        """Yield the grids of so many places that look like the image, and some that do not."""
        rows = math.sqrt(max(0, places) * self.size[0] / self.size[1])
        for count in range(max(1, int(rows * 0.8)), int(rows * 1.25) + 1):
            if places % count == 0:
                yield count, places // count

    def _skew(self, grid: Grid) -> float:
        (height, width), (rows, columns) = self.size, grid
        return abs(math.log(rows * width / (columns * height))) if 0 < rows <= height and 0 < columns <= width else 9.0

    def _is_map(self, grid: Grid) -> bool:
        (height, width), (rows, columns) = self.size, grid
        near = abs(rows - columns * height / width) <= 1 or abs(columns - rows * width / height) <= 1
        return math.prod(grid) > 1 and self._skew(grid) < 9.0 and (near or self._skew(grid) <= MOST_SKEW)
