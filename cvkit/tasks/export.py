"""Write a model as a file that another program runs, and prove it right before it gets its name."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cvkit
from cvkit import files
from cvkit.catalog import SALIENCY_MODELS
from cvkit.config import ExportConfig
from cvkit.data.images import read_image, resize_image
from cvkit.engine import checkpoint
from cvkit.engine import export as machinery
from cvkit.engine.export import Check
from cvkit.engine.progress import Listener, Note, Stage, StageEnd, Step, ignore
from cvkit.errors import OutputError, UsageError, WeightsError
from cvkit.models import exportable
from cvkit.models.exportable import Exportable
from cvkit.models.exported import ExportedNetwork, Facts, read_facts
from cvkit.models.graph import AsItIs, FromBytes, Graph, MapAtInput, TopClasses, with_cam

EXAMPLES = 2  # images in the batch that is traced: of one, a dimension left open would be taken for fixed
BATCHES = (1, 3)  # of the verification: neither is that of the example
# Largest difference and largest difference over the largest value, by precision.
TOLERANCES = {"fp32": (1e-4, 1e-3), "fp16": (5e-2, 3e-2)}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The file, what it says of itself, and how it was checked."""

    path: Path
    bytes: int
    sha256: str
    facts: Facts
    checks: list[Check]
    atol: float
    rtol: float


def inspect(path: str) -> Facts:
    """Return what an exported file says of itself; raises WeightsError where it says nothing."""
    return read_facts(Path(path))


def export(config: ExportConfig, listen: Listener = ignore) -> ExportResult:
    """Write the file under a name of its own, run it in its runtime beside the network, and rename it when they agree.

    Raises UsageError for an unknown name or what the network does not let itself be exported with, WeightsError for
    weights that cannot be had and for a file that differs from its network, OutputError where it cannot be written.
    """
    found = _find(config, listen)
    path = _target(config, found)
    graph, facts = _assemble(config, found)
    precise = copy.deepcopy(graph)
    if config.precision == "fp16":
        graph = machinery.half(graph)
    facts = replace(facts, versions={"cvkit": cvkit.__version__, "torch": torch.__version__})
    listen(Stage(f"exporting {facts.model}", 2, "steps"))
    with files.atomic_path(path) as temporary:
        made = temporary.with_suffix(path.suffix)  # runtimes go by the suffix
        try:
            _write(config, made, graph, found, facts)
            listen(Step(1))
            checks, atol, rtol = _verify(config, made, precise, facts)
            made.replace(temporary)
        finally:
            made.unlink(missing_ok=True)
    listen(Step(2))
    listen(StageEnd())
    result = ExportResult(
        path=path,
        bytes=path.stat().st_size,
        sha256=files.sha256(path),
        facts=facts,
        checks=checks,
        atol=atol,
        rtol=rtol,
    )
    files.write_json(path.with_name(f"{path.name}.export.json"), _report(config, result))
    return result


def _find(config: ExportConfig, listen: Listener) -> Exportable:
    """Return what a run, a checkpoint file or a name means."""
    if config.model not in SALIENCY_MODELS and (Path(config.model).exists() or "/" in config.model):
        path = checkpoint.find(config.model)
        card = checkpoint.load(path, "saliency", "autoencoder")
        return exportable.from_checkpoint(card, config.part, files.sha256(path))
    torch.manual_seed(config.seed)
    return exportable.from_name(config.model, config.weights, config.labels, lambda text: listen(Note(text)))


def _target(config: ExportConfig, found: Exportable) -> Path:
    name = found.facts.model.replace(":", "-").replace("/", "-")
    if found.facts.kind == "encoder":
        name += "-encoder"
    path = Path(config.out or f"{name}.{config.format}")
    if path.suffix != f".{config.format}":
        raise UsageError(f"--out {path}: a file of --format {config.format} ends in .{config.format}.")
    if path.exists() and not config.overwrite:
        raise OutputError(f"{path} is there already: name another --out, or add --overwrite.")
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
    dynamic = tuple(name for name in ("batch", "height", "width") if name in config.dynamic)
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


def _write(config: ExportConfig, path: Path, graph: nn.Module, found: Exportable, facts: Facts) -> None:
    if config.format == "safetensors":
        network = machinery.half(found.network) if config.precision == "fp16" else found.network
        return machinery.write_safetensors(path, network, facts)
    example = _inputs(_pictures(config, facts, EXAMPLES if "batch" in facts.dynamic else 1, facts.size), facts)
    if config.format == "onnx":
        return machinery.write_onnx(path, graph, example, facts, opset=config.opset, simplify=config.simplify)
    return machinery.write_pt2(path, graph, example, facts)


def _verify(config: ExportConfig, path: Path, graph: nn.Module, facts: Facts) -> tuple[list[Check], float, float]:
    """Run the file beside the network, and refuse it where they differ by more than the tolerances."""
    run = _runner(path)
    atol, rtol = TOLERANCES[config.precision]
    atol = config.atol or atol
    checks = []
    for size in machinery.sizes_to_try(facts):
        for batch in BATCHES if "batch" in facts.dynamic else (1,):
            images = _pictures(config, facts, batch, size)
            with torch.no_grad():
                expected = graph(_inputs(images, replace(facts, precision="fp32")))
            found = run(_inputs(images, facts))
            checks.append(machinery.compare(expected, found, size, facts.kind == "classifier"))
    worst = max(checks, key=lambda check: check.absolute)
    if any(check.absolute > atol or check.relative > rtol for check in checks):
        raise WeightsError(
            f"{facts.model}: the exported file differs from the network by {worst.absolute:.3g} "
            f"({max(check.relative for check in checks):.3g} of the largest value), more than --atol {atol:g} "
            f"(and {rtol:g}) allow; nothing was written."
        )
    return checks, atol, rtol


def _runner(path: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    if path.suffix == ".safetensors":
        network = exportable.rebuilt(path)
        return lambda images: (network(images.float()).float(),)
    return ExportedNetwork(path).run


def _pictures(config: ExportConfig, facts: Facts, count: int, size: tuple[int, int]) -> Tensor:
    """Return ``count`` pictures (N, C, H, W) uint8: of ``--images``, else photographs of scikit-image."""
    if config.images is not None:
        paths = [item.path for item in files.find_inputs([config.images])]
    else:
        paths = sample_photographs()
    images = [resize_image(read_image(paths[number % len(paths)]), size) for number in range(count)]
    whole = torch.stack(images)
    return whole if facts.channels == 3 else whole.float().mean(1, keepdim=True).to(torch.uint8)


def sample_photographs() -> list[Path]:
    """Return photographs that are on every machine: those that come with scikit-image."""
    import skimage

    folder = Path(skimage.__file__).with_name("data")
    return [
        folder / name
        for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
        if (folder / name).is_file()
    ]


def _inputs(images: Tensor, facts: Facts) -> Tensor:
    """Return (N, C, H, W) uint8 pictures as the file takes them."""
    if facts.input == "uint8":
        return images.permute(0, 2, 3, 1).contiguous() if facts.layout == "nhwc" else images
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (facts.mean, facts.std))
    pixels = (images.float() / 255 - mean) / std
    return pixels.half() if facts.precision == "fp16" else pixels


def _report(config: ExportConfig, result: ExportResult) -> dict[str, Any]:
    head = {"file": result.path.name, "bytes": result.bytes, "sha256": result.sha256, "settings": config.as_dict()}
    tolerance = {"atol": result.atol, "rtol": result.rtol}
    facts = {name: value for name, value in asdict(result.facts).items() if name not in ("labels", "class_ids")}
    return {**head, **tolerance, "checks": [asdict(check) for check in result.checks], "facts": facts}
