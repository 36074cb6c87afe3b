"""Choose the runtime of a network for inference: PyTorch, or onnxruntime on a processor."""

import torch

from cvkit.config import RuntimeConfig
from cvkit.errors import CvkitError, UsageError
from cvkit.models.exported import cache
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.loaded import Exportable
from cvkit.progress import Note, Reporter

MIN_IMAGES = 500  # from which an export of about ten seconds repays


def takes_onnxruntime(exportable: Exportable, config: RuntimeConfig, device: torch.device, images: int) -> bool:
    """Return whether ``--runtime`` selects onnxruntime.

    ``auto`` selects it for float32 on a processor, if the exported graph is in the cache or the number of images repays
    the export.

    Args:
        exportable: The network with its metadata.
        config: The settings.
        device: Device to compute on.
        images: Number of inputs of the command.

    Raises:
        UsageError: If onnxruntime is requested for another device.
    """
    on_processor = device.type == "cpu"
    if config.runtime == "onnx":
        if not on_processor:
            raise UsageError("--runtime onnx computes on the processor: add --device cpu.")
        return True
    if config.runtime == "torch" or not on_processor or config.precision not in ("auto", "fp32"):
        return False
    return images >= MIN_IMAGES or cache.cached_path(exportable).is_file()


def open_in_onnxruntime(exportable: Exportable, config: RuntimeConfig, report: Reporter) -> ExportedNetwork | None:
    """Open a network in onnxruntime.

    Args:
        exportable: The network with its metadata.
        config: The settings.
        report: Receives the choice.

    Returns:
        The network, or None if it cannot be exported and ``--runtime`` is auto.

    Raises:
        UsageError: If onnxruntime is requested, and the network cannot be exported.
        WeightsError: If onnxruntime is requested, and the exported graph differs from the network.
        OutputError: If onnxruntime is requested, and the cache of graphs cannot be written.
    """
    try:
        opened = cache.open_cached(exportable, report)
    except CvkitError as error:
        if config.runtime == "onnx":
            raise
        report(Note(f"the network runs in PyTorch, because onnxruntime cannot run it: {error}"))
        return None
    report(Note(f"{exportable.facts.model} runs in onnxruntime; --runtime torch selects PyTorch"))
    return opened
