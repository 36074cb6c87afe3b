"""Export networks to ONNX once, verify them, and keep the files in a cache for later commands."""

import contextlib
import copy
import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import cvkit
from cvkit import files
from cvkit.config.export import MIN_OPSET
from cvkit.errors import WeightsError
from cvkit.messages import reason
from cvkit.models.exported import writers
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.graph import AsItIs, Graph
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.exported.reading import tensor_digest
from cvkit.models.exported.samples import inputs_of, read_samples
from cvkit.models.exported.verification import TOLERANCES, verify
from cvkit.models.loaded import Exportable
from cvkit.progress import Note, Reporter

CACHE_VARIABLE = "CVKIT_CACHE"  # environment variable with the cache folder
MAX_CACHE_BYTES = 4 * 2**30
MAX_NETWORK_BYTES = 2**30  # of weights; a file of 2 GB or more is split
EXAMPLES = 2  # images in the traced batch: with one image, the batch dimension would be taken for a fixed one


def cache_folder() -> Path:
    """Return the folder of the graphs: ``graphs`` in $CVKIT_CACHE, else in cvkit's folder of the user's cache."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return Path(folder) / "graphs"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cvkit" / "graphs"


def cached_path(exportable: Exportable) -> Path:
    """Return the path at which the cache keeps the graph of a network with its weights, whether or not it exists."""
    facts = exportable.facts
    weights = facts.weights_sha256 or tensor_digest(exportable.network.state_dict())
    # The labels and the settings of the training do not change the graph.
    plain = replace(facts, labels=(), class_ids=(), config={}, versions={}, licence=None)
    key = f"{weights} {plain.as_json()} {MIN_OPSET} {cvkit.__version__} {torch.__version__}"
    return cache_folder() / f"{files.sha256_of(key.encode())[:40]}.onnx"


def open_cached(exportable: Exportable, report: Reporter) -> ExportedNetwork:
    """Open the graph of a network in onnxruntime, after exporting and verifying it if the cache does not have it.

    Args:
        exportable: The network with its metadata.
        report: Receives a note about the export.

    Raises:
        UsageError: If the network cannot be exported.
        WeightsError: If the graph differs from the network, or the network is too large.
        OutputError: If the cache cannot be written.
    """
    network, facts = exportable.network, exportable.facts
    path = cached_path(exportable)
    if path.is_file():
        try:
            opened = ExportedNetwork(path)
            with contextlib.suppress(OSError):  # a cache of somebody else
                os.utime(path)  # the files that were not used for the longest time are removed first
            return opened
        except WeightsError as error:
            report(Note(f"{reason(error)}: the file is made again", "warning"))
    if sum(tensor.nbytes for tensor in network.state_dict().values()) > MAX_NETWORK_BYTES:
        raise WeightsError(f"{facts.model} has more than {MAX_NETWORK_BYTES >> 30} GiB of weights.")
    report(Note(f"exporting {facts.model} to onnxruntime once; later commands take it from {path.parent}"))
    _export(path, network, facts, report)
    return ExportedNetwork(path)


def _export(path: Path, network: nn.Module, facts: Facts, report: Reporter) -> None:
    graph = Graph(network, None, AsItIs()).eval()
    samples = read_samples(None, facts, report)
    files.make_folder(path.parent)
    with files.staging_folder(path) as folder:
        file = folder / path.name
        example = inputs_of(samples.batch(EXAMPLES, facts.size), facts)
        # A copy, because the exporter changes the graph, which is compared with the file afterwards.
        with files.writing(path):
            writers.write_onnx(file, copy.deepcopy(graph), example, facts, opset=MIN_OPSET, simplify=False)
        verify(ExportedNetwork(file).run, graph, facts, samples, TOLERANCES["fp32"], report)
        with files.writing(path):
            file.replace(path)
    _remove_oldest(path.parent)


def _remove_oldest(folder: Path) -> None:
    """Remove the graphs that were not used for the longest time, until the others have less than the limit."""
    found = []
    for path in folder.glob("*.onnx"):
        with contextlib.suppress(OSError):  # another process has just removed it
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    kept = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True)):
        kept += size
        if number and kept > MAX_CACHE_BYTES:
            path.unlink(missing_ok=True)
