"""Measure the speed and size of exported files, and their agreement with PyTorch."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.commands.export.staging import parts_of, size_of
from cvkit.errors import DataError, UsageError
from cvkit.messages import first_line
from cvkit.models.exported.comparison import Outputs
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.exported.samples import SampleImages, inputs_of
from cvkit.models.exported.silence import silent
from cvkit.models.exported.timing import Opener, median_call_seconds
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.classification.truth import read_truth
from cvkit.tasks.registry import KINDS

BATCH_SIZE = 16  # for the images per second
ROUNDS, SECONDS = 3, 2.0  # per variant and batch size
EAGER, COMPILED = "PyTorch, eager", "PyTorch, compiled"
Run = Callable[[Tensor], Outputs]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Medians of one variant of a model on the processor, with as many threads as PyTorch uses.

    Attributes:
        name: Name of the variant.
        batch: Batch size of ``images_per_second``.
        images_per_second: Throughput in batches.
        latency_ms: Time of a single image in milliseconds.
        bytes: Size on disk; for PyTorch the size of the weights.
        agreement: Fraction of images whose top class is that of eager PyTorch; None without classes.
        accuracy: Fraction of images whose top class is the true one; None without true classes.
        cc: Correlation of the output with that of eager PyTorch; None for classifiers.
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
class ExportedFile:
    """An exported file with its metadata."""

    path: Path
    facts: Facts

    @property
    def name(self) -> str:
        """The name of the file beside others of the same network."""
        return f"{self.path.suffix[1:]}, {self.facts.precision}"


@dataclass(frozen=True)
class _Variant:
    """One variant of a model: a function that opens it, its metadata, and its size on disk in bytes."""

    opened: Callable[[], Run]
    facts: Facts
    bytes: int


def benchmark(
    graph: nn.Module,
    plain: Facts,
    exported: Sequence[ExportedFile],
    samples: SampleImages,
    true: Tensor | None,
    report: Reporter,
) -> list[Row]:
    """Measure the network, eager and compiled, and exported files on the same images, one after the other.

    Args:
        graph: The network with its preprocessing and postprocessing.
        plain: Metadata of the network in float32.
        exported: The exported files.
        samples: The images.
        true: (N,) int64 true classes of the images, -1 for unknown; None if there are none.
        report: Receives progress events.
    """
    variants = _variants(graph, plain, exported, samples, report)
    batch = BATCH_SIZE if "batch" in plain.dynamic else 1
    one, many = (samples.batch(count, plain.size) for count in (1, batch))
    report(Stage("measuring", 3, "steps"))
    with torch.inference_mode():
        latency = median_call_seconds(_openers(variants, one), rounds=ROUNDS, seconds=SECONDS)
        report(Step(1))
        throughput = median_call_seconds(_openers(variants, many), rounds=ROUNDS, seconds=SECONDS)
        report(Step(2))
        outputs = {name: _all_outputs(variant, samples, batch) for name, variant in variants.items()}
        report(Step(3))
    report(StageEnd())
    rows = []
    for name, variant in variants.items():
        likeness = KINDS[plain.kind].compare_outputs(outputs[EAGER], outputs[name], true)
        scores: dict[str, float | None] = {score: likeness.get(score) for score in ("agreement", "accuracy", "cc")}
        speed, delay = batch / throughput[name], 1000 * latency[name]
        row = Row(name=name, batch=batch, images_per_second=speed, latency_ms=delay, bytes=variant.bytes, **scores)
        rows.append(row)
    return rows


def _variants(
    graph: nn.Module, plain: Facts, exported: Sequence[ExportedFile], samples: SampleImages, report: Reporter
) -> dict[str, _Variant]:
    graph = copy.deepcopy(graph).to(memory_format=torch.channels_last)  # faster on processors, and used by the commands
    weights = sum(tensor.nbytes for tensor in graph.state_dict().values())
    variants = {EAGER: _Variant(lambda: graph, plain, weights)}
    compiled = torch.compile(graph, dynamic=False)
    try:
        with silent(), torch.inference_mode():
            for batch in {1, BATCH_SIZE if "batch" in plain.dynamic else 1}:
                compiled(inputs_of(samples.batch(batch, plain.size), plain))
    except RuntimeError as error:  # most often because there is no C++ compiler
        report(Note(f"torch.compile does not work here: {first_line(error)}", "warning"))
    else:
        variants[COMPILED] = _Variant(lambda: compiled, plain, weights)
    for file in exported:
        variants[file.name] = _Variant(partial(_open, file.path), file.facts, size_of(parts_of(file.path)))
    return variants


def _open(path: Path) -> Run:
    return ExportedNetwork(path).run


def _openers(variants: Mapping[str, _Variant], images: Tensor) -> dict[str, Opener]:
    def opener(variant: _Variant) -> Opener:
        def opened() -> Callable[[], object]:
            run, inputs = variant.opened(), inputs_of(images, variant.facts)
            return lambda: run(inputs)

        return opened

    return {name: opener(variant) for name, variant in variants.items()}


def _all_outputs(variant: _Variant, samples: SampleImages, batch: int) -> Outputs:
    """Return the outputs for all images."""
    run = variant.opened()
    parts = [run(inputs_of(images, variant.facts)) for images in samples.batches(batch)]
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def true_classes(facts: Facts, samples: SampleImages, source: str) -> Tensor:
    """Return the (N,) int64 true class of each image, -1 for images that the source does not name.

    Raises:
        UsageError: If the model is no classifier.
        DataError: If the source names no image.
    """
    if facts.num_classes is None:
        raise UsageError(f"--truth gives the classes of images, but {facts.model} is not a classifier.")
    truth = read_truth(source, facts.labels, facts.class_ids, facts.num_classes)
    classes = [truth.class_of(item) for item in samples.inputs]
    if all(index is None for index in classes):
        raise DataError(f"--truth {source} names none of the images, such as {samples.inputs[0].name}.")
    return torch.tensor([-1 if index is None else index for index in classes])
