"""Assemble the graph to export, and write and verify the files."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from cvkit import files
from cvkit.commands.export.measuring import ExportedFile
from cvkit.config import ExportConfig
from cvkit.config.export import DYNAMIC
from cvkit.errors import UsageError
from cvkit.models.exported import writers
from cvkit.models.exported.comparison import Check
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.graph import AsItIs, FromBytes, Graph, with_cam
from cvkit.models.exported.quantize import quantize
from cvkit.models.exported.samples import SampleImages, inputs_of
from cvkit.models.exported.verification import choose_tolerance, verify
from cvkit.models.loaded import Exportable
from cvkit.progress import Reporter, Stage, StageEnd, Step
from cvkit.tasks.registry import KINDS, open_exported

EXAMPLES = 2  # images in the traced batch: with one image, a dynamic dimension would be taken for a fixed one


@dataclass(frozen=True)
class Plan:
    """Everything that is needed to write a file.

    Attributes:
        config: The settings.
        network: The network alone.
        graph: The network with its preprocessing and postprocessing.
        facts: Metadata of the graph.
        samples: Images for quantisation and verification.
    """

    config: ExportConfig
    network: nn.Module
    graph: nn.Module
    facts: Facts
    samples: SampleImages


def default_name(config: ExportConfig, facts: Facts) -> str:
    """Return the name, without suffix, of a file for which ``--out`` gives none."""
    name = facts.model.replace(":", "-").replace("/", "-")
    if facts.kind == "encoder":
        name += "-encoder"
    return f"{name}-{config.quantize}" if config.quantize else name


def assemble(config: ExportConfig, exportable: Exportable) -> tuple[nn.Module, Facts]:
    """Add preprocessing, postprocessing and the class activation map to a network, and describe them in its metadata.

    Raises:
        UsageError: If the model does not support one of them.
    """
    network, facts = exportable.network, exportable.facts
    kind = KINDS[facts.kind]
    after: nn.Module = AsItIs()
    outputs = list(facts.outputs)
    if config.include_postprocessing:
        if kind.postprocessing is None:
            raise UsageError(f"--include-postprocessing: {kind.title} has no postprocessing.")
        after, outputs = kind.postprocessing(facts, config.top)
    if config.with_cam:
        if exportable.cam_target is None:
            raise UsageError(f"--with-cam explains a classifier, but {facts.model} is {kind.title}.")
        network = with_cam(network, exportable.cam_target(), facts.size, facts.model)
        outputs.append("cam")
    before = FromBytes(config.layout, facts.mean, facts.std) if config.include_preprocessing else None
    dynamic = tuple(name for name in DYNAMIC if name in config.dynamic)
    if not kind.any_size and set(dynamic) - {"batch"}:
        raise UsageError(f"--dynamic: {kind.title} has a dense layer, and takes images of one size only.")
    return Graph(network, before, after).eval(), replace(
        facts,
        outputs=tuple(outputs),
        input="uint8" if before else "float",
        layout=config.layout,
        dynamic=dynamic,
        precision=config.precision,
    )


def export_files(plan: Plan, path: Path, report: Reporter) -> tuple[list[ExportedFile], list[Check]]:
    """Write and verify a file, and the quantised file that is made from it if one is requested.

    Returns:
        The files, the requested one last, and its comparisons with PyTorch.
    """
    config, facts = plan.config, plan.facts
    report(Stage(f"exporting {facts.model}", 4 if config.quantize else 2, "steps"))
    first = path.with_name(f"plain-{path.name}") if config.quantize else path
    with files.writing(path):
        _write(plan, first)
    report(Step(1))
    # The float32 file that is quantised must meet the default tolerance; --atol and --rtol are for the last file.
    limits = (None, None) if config.quantize else (config.atol, config.rtol)
    checks = verify(
        open_exported(first), plan.graph, facts, plan.samples, choose_tolerance(facts.precision, *limits), report
    )
    report(Step(2))
    exported = [ExportedFile(path=first, facts=facts)]
    if config.quantize:
        quantized = replace(facts, precision=config.quantize)
        with files.writing(path):
            quantize(first, path, (inputs_of(image, facts) for image in plan.samples.batches(1)), quantized)
        report(Step(3))
        allowed = choose_tolerance(config.quantize, config.atol, config.rtol)
        checks = verify(open_exported(path), plan.graph, quantized, plan.samples, allowed, report)
        report(Step(4))
        exported.append(ExportedFile(path=path, facts=quantized))
    report(StageEnd())
    return exported, checks


def _write(plan: Plan, path: Path) -> None:
    config, facts = plan.config, plan.facts
    half = config.precision == "fp16"
    if config.format == "safetensors":
        return writers.write_safetensors(path, writers.half(plan.network) if half else plan.network, facts)
    example = inputs_of(plan.samples.batch(EXAMPLES if "batch" in facts.dynamic else 1, facts.size), facts)
    # A copy in either case, because exporters change the graph, which is compared with the file afterwards.
    traced = writers.half(plan.graph) if half else copy.deepcopy(plan.graph)
    if config.format == "onnx":
        return writers.write_onnx(path, traced, example, facts, opset=config.opset, simplify=config.simplify)
    if config.format == "openvino":
        return writers.write_openvino(path, traced, example, facts)
    return writers.write_pt2(path, traced, example, facts)
