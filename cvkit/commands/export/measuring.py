"""An exported file beside the network it was made of: how fast, how large, how alike."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.commands.export.pictures import Pictures, inputs_of
from cvkit.commands.export.place import parts_of, size_of
from cvkit.errors import DataError, UsageError, first_line
from cvkit.models.exported.comparison import top_classes
from cvkit.models.exported.exported import ExportedNetwork
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.silence import silent
from cvkit.models.exported.timing import Opener, in_blocks
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.truth import read_truth
from cvkit.tasks.saliency.metrics.similarity import cc

BATCH = 16  # of the images a second
ROUNDS, SECONDS = 3, 2.0  # for each way and batch
EAGER, COMPILED = "PyTorch, eager", "PyTorch, compiled"
Outputs = tuple[Tensor, ...]
Run = Callable[[Tensor], Outputs]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to run a model on the processor: medians, on as many threads as PyTorch takes.

    ``images_per_second`` is in batches of ``batch``, ``latency_ms`` of a single image, ``bytes`` on disk (of PyTorch:
    the weights). ``agreement`` is the share of the images whose top class is eager PyTorch's, ``accuracy`` the share
    whose top class is the true one, ``cc`` the correlation with what eager PyTorch gives; None where there is none.
    """

    name: str
    batch: int
    images_per_second: float
    latency_ms: float
    bytes: int
    agreement: float | None
    accuracy: float | None
    cc: float | None


@dataclass(frozen=True, kw_only=True)
class Made:
    """An exported file: where it is, and what it says of itself."""

    path: Path
    facts: Facts

    @property
    def name(self) -> str:
        """What to call it beside others of the same network."""
        return f"{self.path.suffix[1:]}, {self.facts.precision}"


@dataclass(frozen=True)
class _Way:
    """One way to run: what opens it, the facts that say what it takes, and its bytes on disk."""

    opened: Callable[[], Run]
    facts: Facts
    bytes: int


def benchmark(
    graph: nn.Module, plain: Facts, made: Sequence[Made], pictures: Pictures, true: Tensor | None, listen: Reporter
) -> list[Row]:
    """Measure the network, eager and compiled, and exported files, on the same images, each by itself.

    ``plain`` are the facts of the network in float32, ``true`` the true classes (N,) of the images, -1 for unknown.
    """
    ways = _ways(graph, plain, made, pictures, listen)
    batch = BATCH if "batch" in plain.dynamic else 1
    one, many = (pictures.batch(count, plain.size) for count in (1, batch))
    listen(Stage("measuring", 3, "steps"))
    with torch.inference_mode():
        single = in_blocks(_openers(ways, one), rounds=ROUNDS, seconds=SECONDS)
        listen(Step(1))
        together = in_blocks(_openers(ways, many), rounds=ROUNDS, seconds=SECONDS)
        listen(Step(2))
        answers = {name: _answers(way, pictures, batch) for name, way in ways.items()}
        listen(Step(3))
    listen(StageEnd())
    rows = []
    for name, found in answers.items():
        agreement, accuracy, correlation = _likeness(plain, answers[EAGER], found, true)
        rows.append(
            Row(
                name=name,
                batch=batch,
                images_per_second=batch / together[name],
                latency_ms=1000 * single[name],
                bytes=ways[name].bytes,
                agreement=agreement,
                accuracy=accuracy,
                cc=correlation,
            )
        )
    return rows


def _ways(
    graph: nn.Module, plain: Facts, made: Sequence[Made], pictures: Pictures, listen: Reporter
) -> dict[str, _Way]:
    graph = copy.deepcopy(graph).to(memory_format=torch.channels_last)  # quicker on processors, as the commands run it
    weights = sum(tensor.nbytes for tensor in graph.state_dict().values())
    ways = {EAGER: _Way(lambda: graph, plain, weights)}
    compiled = torch.compile(graph, dynamic=False)
    try:
        with silent(), torch.inference_mode():
            for batch in {1, BATCH if "batch" in plain.dynamic else 1}:
                compiled(inputs_of(pictures.batch(batch, plain.size), plain))
    except RuntimeError as error:  # no compiler of C++, most often
        listen(Note(f"torch.compile does not work here: {first_line(error)}", "warning"))
    else:
        ways[COMPILED] = _Way(lambda: compiled, plain, weights)
    for file in made:
        ways[file.name] = _Way(partial(_open, file.path), file.facts, size_of(parts_of(file.path)))
    return ways


def _open(path: Path) -> Run:
    return ExportedNetwork(path).run


def _openers(ways: Mapping[str, _Way], images: Tensor) -> dict[str, Opener]:
    def opener(way: _Way) -> Opener:
        def opened() -> Callable[[], object]:
            run, given = way.opened(), inputs_of(images, way.facts)
            return lambda: run(given)

        return opened

    return {name: opener(way) for name, way in ways.items()}


def _answers(way: _Way, pictures: Pictures, batch: int) -> Outputs:
    """Return the outputs for all images."""
    run = way.opened()
    parts = [run(inputs_of(images, way.facts)) for images in pictures.batches(batch)]
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def _likeness(
    facts: Facts, expected: Outputs, found: Outputs, true: Tensor | None
) -> tuple[float | None, float | None, float | None]:
    if facts.kind == "classifier":
        top = top_classes(found)
        accuracy = None if true is None else float((top == true)[true >= 0].double().mean())
        return float((top == top_classes(expected)).double().mean()), accuracy, None
    # A code is a few numbers an image: they are correlated over all images, maps each for itself.
    shape = (1, 1, -1) if facts.kind == "encoder" else (-1, *expected[0].shape[-2:])
    return None, None, float(cc(found[0].float().reshape(shape), expected[0].float().reshape(shape)).mean())


def true_classes(facts: Facts, pictures: Pictures, source: str) -> Tensor:
    """Return the true class (N,) of each image, -1 where the truth says nothing of it.

    Raises UsageError where there are no classes, DataError for a truth that says nothing of any image.
    """
    if facts.kind != "classifier":
        raise UsageError(f"--truth names the classes of images; {facts.model} is no classifier.")
    truth = read_truth(source, facts.labels, facts.class_ids, facts.spec["classes"])
    known = [truth.class_of(item) for item in pictures.inputs]
    if all(one is None for one in known):
        raise DataError(f"--truth {source} says nothing of any image, such as {pictures.inputs[0].name}.")
    return torch.tensor([-1 if one is None else one for one in known])
