"""Export a model for other programs, and verify the file against PyTorch before it is saved."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import cvkit
from cvkit import files
from cvkit.commands.export import staging
from cvkit.commands.export.building import Plan, assemble, default_name, export_files
from cvkit.commands.export.measuring import ExportedFile, Row, benchmark, true_classes
from cvkit.config import ExportConfig
from cvkit.engine.stop import StopSignal, interruptible
from cvkit.errors import UsageError
from cvkit.models.exported.comparison import Check
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.reading import read_facts
from cvkit.models.exported.samples import in_float32, read_samples
from cvkit.models.exported.verification import choose_tolerance
from cvkit.models.loaded import Request
from cvkit.progress import Note, Reporter, ignore
from cvkit.tasks.registry import export_model, load_model

MIN_CALIBRATION_IMAGES = 10  # value ranges of fewer images represent others badly
SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors", "openvino": ".xml"}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The exported file, its metadata, and how it was verified.

    Attributes:
        path: The file.
        files: All files that belong to it, ``path`` first.
        bytes: Their total size.
        sha256: SHA-256 of ``path``.
        facts: The metadata in the file.
        checks: The comparisons with PyTorch.
        atol: Allowed difference; None for any.
        rtol: Allowed difference as a fraction of the largest value; None for any.
        benchmark: Measurements; empty without ``--benchmark``.
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
    """Return the metadata of an exported file.

    Raises:
        WeightsError: If the file cannot be read or has no metadata.
    """
    return read_facts(Path(path))


def export(config: ExportConfig, report: Reporter = ignore) -> ExportResult:
    """Write a file into a staging folder, verify it against the network, and move it to its destination.

    Raises:
        UsageError: If the model is unknown, or cannot be exported with these settings.
        WeightsError: If weights are not available, or the file differs from the network.
        DataError: If the sample images cannot be read.
        OutputError: If the file cannot be written.
        StoppedBySignal: If a signal stopped the command; nothing is left behind.
    """
    with StopSignal() as stop:
        return _export(config, interruptible(stop, report, "stopped by a signal: run the same command to start again."))


def _export(config: ExportConfig, report: Reporter) -> ExportResult:
    if config.out is not None:  # before the model is loaded
        staging.check_free(_check_suffix(config, Path(config.out)), config.overwrite)
    request = Request(
        name=config.model or "", weights=config.weights, labels=config.labels, options=config, report=report
    )
    loaded = load_model(request)
    loaded.report_note(report)
    if config.part == "whole" and loaded.kind == "encoder":
        raise UsageError(f"--part whole: {config.model} holds an encoder only.")
    exportable = export_model(loaded, config.part)
    path = _check_suffix(config, Path(config.out or default_name(config, exportable.facts) + SUFFIXES[config.format]))
    staging.check_free(path, config.overwrite)
    graph, facts = assemble(config, exportable)
    facts = replace(facts, versions={"cvkit": cvkit.__version__, "torch": torch.__version__})
    samples = read_samples(config.calibrate, facts, report)
    if config.quantize and len(samples) < MIN_CALIBRATION_IMAGES:
        report(Note(f"the value ranges for {config.quantize} come from only {len(samples)} images", "warning"))
    true = true_classes(facts, samples, config.truth) if config.truth else None
    with files.staging_folder(path) as folder:
        plan = Plan(config, exportable.network, graph, facts, samples)
        exported, checks = export_files(plan, folder / path.name, report)
        rows = benchmark(graph, in_float32(facts), exported, samples, true, report) if config.benchmark else []
        result = _make_result(config, path, exported[-1], checks, rows)
        files.write_json(staging.report_path(exported[-1].path), _report_document(config, result))
        staging.move(exported[-1].path, path.parent)
    return result


def _make_result(
    config: ExportConfig, path: Path, exported: ExportedFile, checks: list[Check], rows: list[Row]
) -> ExportResult:
    parts = staging.parts_of(exported.path)
    allowed = choose_tolerance(exported.facts.precision, config.atol, config.rtol)
    return ExportResult(
        path=path,
        files=[path.with_name(part.name) for part in parts],
        bytes=staging.size_of(parts),
        sha256=files.sha256(exported.path),
        facts=read_facts(exported.path),
        checks=checks,
        atol=allowed.atol,
        rtol=allowed.rtol,
        benchmark=rows,
    )


def _check_suffix(config: ExportConfig, path: Path) -> Path:
    suffix = SUFFIXES[config.format]
    if path.suffix != suffix:
        raise UsageError(f"--out {path}: the name of a file of --format {config.format} must end in {suffix}.")
    return path


def _report_document(config: ExportConfig, result: ExportResult) -> dict[str, Any]:
    """Return the content of ``FILE.export.json``."""
    head = {"file": result.path.name, "bytes": result.bytes, "sha256": result.sha256, "settings": config.as_dict()}
    allowed = {"atol": result.atol, "rtol": result.rtol}
    facts = {name: value for name, value in asdict(result.facts).items() if name not in ("labels", "class_ids")}
    checks = [asdict(check) for check in result.checks]
    measured = {"benchmark": [asdict(row) for row in result.benchmark]} if result.benchmark else {}
    return {**head, **allowed, "checks": checks, **measured, "facts": facts}
