"""Run exported files as networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.errors import DataError, UsageError, WeightsError
from cvkit.messages import first_line
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.reading import read_facts
from cvkit.models.exported.runtimes import OPENERS, Run


def is_exported(place: str) -> bool:
    """Return whether a file has the suffix of an exported graph (.onnx, .pt2, .xml)."""
    return Path(place).suffix.lower() in OPENERS


class ExportedNetwork(nn.Module):
    """An exported ONNX, pt2 or OpenVINO file as a network that returns its first output.

    The input is that of the file: normalised (N, C, H, W) floats, or uint8 images if ``takes_bytes`` is True. ONNX
    files run in onnxruntime, on a GPU if its CUDA provider is available; pt2 files in torch; OpenVINO files on the
    processor.

    Args:
        path: The file.
        device: Device to run on; None for the processor.

    Raises:
        WeightsError: If the file cannot be read.
    """

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        super().__init__()
        self.path, self.facts = path, read_facts(path)
        self.takes_bytes = self.facts.input == "uint8"
        self.device: torch.device | None = None
        self.open(device or torch.device("cpu"))

    def open(self, device: torch.device) -> None:
        """Open the file in its runtime, unless it is open on this device already.

        Raises:
            WeightsError: If the file cannot be loaded.
        """
        if device == self.device:
            return
        try:
            self.run: Run = _with_plain_errors(self.path, OPENERS[self.path.suffix.lower()](self.path, device))
            self.device = device
        except (UsageError, WeightsError):
            raise
        except Exception as error:
            raise WeightsError(f"{self.path}: cannot be loaded ({first_line(error, 160)}).") from error

    def forward(self, images: Tensor) -> Tensor:
        """Return the first output in float32, on the device of the images."""
        return self.outputs(images)[0].float()

    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return all outputs for (N, C, H, W) images."""
        if self.takes_bytes and self.facts.layout == "nhwc":
            images = images.permute(0, 2, 3, 1)
        if not self.takes_bytes:
            images = images.to(torch.float16 if self.facts.precision == "fp16" else torch.float32)
        images = images.contiguous()
        if "batch" in self.facts.dynamic:
            return self.run(images)
        parts = [self.run(image) for image in images.split(1)]
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def _with_plain_errors(path: Path, run: Run) -> Run:
    """Return the function of a runtime with errors of one line, which concern the images of the call."""

    def guarded(images: Tensor) -> tuple[Tensor, ...]:
        try:
            return run(images)
        except torch.OutOfMemoryError:
            raise  # a smaller batch may fit
        except Exception as error:  # each runtime has types of its own
            shape = "x".join(map(str, images.shape))
            raise DataError(f"{path} cannot process images of shape {shape} ({first_line(error, 160)}).") from error

    return guarded


def memory_layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the memory format in which a network is fastest: channels last on CUDA and on processors.

    Exported files were traced with contiguous images; any other format would be converted in every call.
    """
    quicker = device.type in ("cuda", "cpu") and not isinstance(network, ExportedNetwork)
    return torch.channels_last if quicker else torch.contiguous_format


def check_kind(facts: Facts, wanted: Mapping[str, str], path: str) -> None:
    """Check the kind and the first output of an exported file.

    Args:
        facts: Its metadata.
        wanted: The required first output by accepted kind.
        path: Its path, for messages.

    Raises:
        WeightsError: If the kind is not accepted, or the first output is another one.
    """
    if facts.kind not in wanted:
        raise WeightsError(f"{path}: an exported {facts.kind}; this command needs one of {', '.join(wanted)}.")
    if facts.outputs[0] != wanted[facts.kind]:
        raise WeightsError(
            f"{path}: returns {', '.join(facts.outputs)} instead of {wanted[facts.kind]}: "
            "export it without --include-postprocessing."
        )
