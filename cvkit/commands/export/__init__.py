"""Write a model as a file that another program runs, and prove it right before it gets its name."""

import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cvkit
from cvkit import files
from cvkit.catalog import SALIENCY_MODELS
from cvkit.commands.export import place
from cvkit.commands.export.measuring import Made, Row, benchmark, true_classes
from cvkit.commands.export.pictures import Pictures, exact, inputs_of, read_pictures
from cvkit.commands.export.verification import tolerance, verify
from cvkit.config import ExportConfig
from cvkit.config.export import DYNAMIC
from cvkit.engine import checkpoint
from cvkit.engine.stop import StopSignal, heeding
from cvkit.errors import UsageError
from cvkit.models.exported import writers
from cvkit.models.exported.comparison import Check
from cvkit.models.exported.exported import read_facts
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.graph import AsItIs, FromBytes, Graph, MapAtInput, TopClasses, with_cam
from cvkit.models.exported.quantize import quantize
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore
from cvkit.tasks import registry
from cvkit.tasks.registry import Exportable

EXAMPLES = 2  # images in the batch that is traced: of one, a dimension left open would be taken for fixed
FEW = 10  # images whose ranges say little of others
SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors", "openvino": ".xml"}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The file, what it says of itself, and how it was checked.

    ``files`` are all that belong to it, the one to name (``path``) first; ``bytes`` is what they take together, and
    ``sha256`` that of ``path``. ``atol`` and ``rtol`` are what was allowed, None for any. ``benchmark`` is empty where
    none was asked for.
    """

    path: Path
    files: list[Path]
    bytes: int
    sha256: str
    facts: Facts
    checks: list[Check]
    atol: float | None
    rtol: float | None
    benchmark: list[Row]


def inspect(path: str) -> Facts:
    """Return what an exported file says of itself; raises WeightsError where it says nothing."""
    return read_facts(Path(path))


def export(config: ExportConfig, listen: Reporter = ignore) -> ExportResult:
    """Write the file into a folder of its own, run it in its runtime beside the network, and move it when they agree.

    Raises UsageError for an unknown name or what the network does not let itself be exported with, WeightsError for
    weights that cannot be had and for a file that differs from its network, DataError for images that cannot be read,
    OutputError where it cannot be written, and StoppedBySignal when one came, with nothing left behind.
    """
    with StopSignal() as stop:
        return _export(config, heeding(stop, listen, "stopped by a signal: the same command begins anew."))


def _export(config: ExportConfig, listen: Reporter) -> ExportResult:
    if config.out is not None:  # what can be refused at once is
        place.check_free(_checked(config, Path(config.out)), config.overwrite)
    found = _find(config, listen)
    path = _checked(config, Path(config.out or _name(config, found)))
    place.check_free(path, config.overwrite)
    graph, facts = _assemble(config, found)
    facts = replace(facts, versions={"cvkit": cvkit.__version__, "torch": torch.__version__})
    pictures = read_pictures(config.calibrate, facts, listen)
    if config.quantize and len(pictures) < FEW:
        listen(Note(f"the ranges of {config.quantize} come of {len(pictures)} images only", "warning"))
    true = true_classes(facts, pictures, config.truth) if config.truth else None
    with place.workshop(path) as shop:
        made, checks = _make(config, shop / path.name, found, graph, facts, pictures, listen)
        measured = benchmark(graph, exact(facts), made, pictures, true, listen) if config.benchmark else []
        final = made[-1]
        parts = place.parts_of(final.path)
        allowed = tolerance(final.facts.precision, config.atol, config.rtol)
        result = ExportResult(
            path=path,
            files=[path.with_name(part.name) for part in parts],
            bytes=place.size_of(parts),
            sha256=files.sha256(final.path),
            facts=final.facts,
            checks=checks,
            atol=allowed.atol,
            rtol=allowed.rtol,
            benchmark=measured,
        )
        files.write_json(place.report_of(final.path), _report(config, result))
        place.move(final.path, path.parent)
    return result


def _make(
    config: ExportConfig,
    path: Path,
    found: Exportable,
    graph: nn.Module,
    facts: Facts,
    pictures: Pictures,
    listen: Reporter,
) -> tuple[list[Made], list[Check]]:
    """Write and verify the file, and after it the one in whole numbers that is made of it.

    Returns the files, the wanted one last, and the comparisons of that one.
    """
    listen(Stage(f"exporting {facts.model}", 4 if config.quantize else 2, "steps"))
    first = path.with_name(f"plain-{path.name}") if config.quantize else path
    with files.writing(path):
        _write(config, first, found, graph, facts, pictures)
    listen(Step(1))
    # A file on the way to another is held to the usual tolerance, and not to what is asked of the last.
    asked = (None, None) if config.quantize else (config.atol, config.rtol)
    checks = verify(first, graph, facts, pictures, tolerance(facts.precision, *asked), listen)
    listen(Step(2))
    made = [Made(path=first, facts=facts)]
    if config.quantize:
        whole = replace(facts, precision=config.quantize)
        with files.writing(path):
            quantize(first, path, (inputs_of(one, facts) for one in pictures.batches(1)), whole)
        listen(Step(3))
        checks = verify(path, graph, whole, pictures, tolerance(config.quantize, config.atol, config.rtol), listen)
        listen(Step(4))
        made.append(Made(path=path, facts=whole))
    listen(StageEnd())
    return made, checks


def _find(config: ExportConfig, listen: Reporter) -> Exportable:
    """Return what a run, a checkpoint file or a name means."""
    assert config.model is not None
    if config.model not in SALIENCY_MODELS and (
        files.is_file(config.model) or files.is_folder(config.model) or "/" in config.model
    ):
        path = checkpoint.find(config.model)
        card = checkpoint.load(path, "saliency", "autoencoder")
        return registry.from_checkpoint(card, config.part, files.sha256(path))
    torch.manual_seed(0)  # of random weights, so that two files without weights are alike
    return registry.from_name(config.model, config.weights, config.labels, listen)


def _name(config: ExportConfig, found: Exportable) -> str:
    """Return what to call a file that no name was asked for."""
    name = found.facts.model.replace(":", "-").replace("/", "-")
    if found.facts.kind == "encoder":
        name += "-encoder"
    if config.quantize:
        name += f"-{config.quantize}"
    return name + SUFFIXES[config.format]


def _checked(config: ExportConfig, path: Path) -> Path:
    suffix = SUFFIXES[config.format]
    if path.suffix != suffix:
        raise UsageError(f"--out {path}: a file of --format {config.format} ends in {suffix}.")
    return path


def _assemble(config: ExportConfig, found: Exportable) -> tuple[nn.Module, Facts]:
    """Put the ways in and out around the network, and say so in the facts."""
    network, facts = found.network, found.facts
    after: nn.Module = AsItIs()
    outputs = list(facts.outputs)
    if config.include_postprocessing:
        if facts.kind == "classifier":
            after = TopClasses(min(config.top, facts.spec["classes"]))
            outputs = ["probabilities", "classes"]
        elif facts.kind == "saliency":
            after, outputs = MapAtInput(), ["saliency"]
        else:
            raise UsageError(f"--include-postprocessing: what an {facts.kind} gives has no further ending.")
    if config.with_cam:
        if facts.kind != "classifier":
            raise UsageError(f"--with-cam explains a classifier; {facts.model} is none.")
        network = with_cam(network, found.target(), facts.size, facts.model)
        outputs.append("cam")
    before = FromBytes(config.layout, facts.mean, facts.std) if config.include_preprocessing else None
    dynamic = tuple(name for name in DYNAMIC if name in config.dynamic)
    if facts.kind in ("encoder", "autoencoder") and set(dynamic) - {"batch"}:
        raise UsageError("--dynamic: an autoencoder has a dense layer, and takes images of one size only.")
    return Graph(network, before, after).eval(), replace(
        facts,
        outputs=tuple(outputs),
        input="uint8" if before else "float",
        layout=config.layout,
        dynamic=dynamic,
        precision=config.precision,
    )


def _write(
    config: ExportConfig, path: Path, found: Exportable, graph: nn.Module, facts: Facts, pictures: Pictures
) -> None:
    half = config.precision == "fp16"
    if config.format == "safetensors":
        return writers.write_safetensors(path, writers.half(found.network) if half else found.network, facts)
    example = inputs_of(pictures.batch(EXAMPLES if "batch" in facts.dynamic else 1, facts.size), facts)
    # A copy in either case: what an exporter did to its graph would else be done to the one to compare with.
    traced = writers.half(graph) if half else copy.deepcopy(graph)
    if config.format == "onnx":
        return writers.write_onnx(path, traced, example, facts, opset=config.opset, simplify=config.simplify)
    if config.format == "openvino":
        return writers.write_openvino(path, traced, example, facts)
    return writers.write_pt2(path, traced, example, facts)


def _report(config: ExportConfig, result: ExportResult) -> dict[str, Any]:
    head = {"file": result.path.name, "bytes": result.bytes, "sha256": result.sha256, "settings": config.as_dict()}
    allowed = {"atol": result.atol, "rtol": result.rtol}
    facts = {name: value for name, value in asdict(result.facts).items() if name not in ("labels", "class_ids")}
    checks = [asdict(check) for check in result.checks]
    measured = {"benchmark": [asdict(row) for row in result.benchmark]} if result.benchmark else {}
    return {**head, **allowed, "checks": checks, **measured, "facts": facts}
