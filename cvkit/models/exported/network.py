"""Read the metadata of exported files, and run them as networks."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import Tensor, nn

from cvkit import files
from cvkit.errors import UsageError, WeightsError, first_line
from cvkit.models.exported.facts import KEY, Facts
from cvkit.models.exported.runtimes import OPENERS, Run, need

SUFFIXES = (".onnx", ".pt2", ".safetensors", ".xml")
MOST_XML = 2**28  # bytes of an OpenVINO graph, which is read completely to get its metadata


def is_exported(place: str) -> bool:
    """Return whether a file has the suffix of an exported graph (.onnx, .pt2, .xml)."""
    return Path(place).suffix.lower() in OPENERS


def read_facts(path: Path) -> Facts:
    """Return the metadata of an exported file.

    Raises:
        WeightsError: If the file cannot be read or has no metadata.
    """
    if not files.is_file(str(path)):
        raise WeightsError(f"{path}: no such file.")
    readers: dict[str, Callable[[Path], str | None]] = {
        ".onnx": _onnx_facts,
        ".pt2": _pt2_facts,
        ".safetensors": _safetensors_facts,
        ".xml": _openvino_facts,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: not an exported model (expected a name ending in {', '.join(SUFFIXES)}).")
    try:
        text = reader(path)
    except (UsageError, WeightsError):
        raise
    except Exception as error:
        raise WeightsError(f"{path}: damaged, or not a {path.suffix} file ({first_line(error, 160)}).") from error
    if text is None:
        raise WeightsError(f"{path}: has no metadata: it was not written by cvkit export.")
    return Facts.from_json(text, str(path))


def _onnx_facts(path: Path) -> str | None:
    need("onnx", ".onnx")
    import onnx

    model = onnx.load(path, load_external_data=False)
    return next((entry.value for entry in model.metadata_props if entry.key == KEY), None)


def _pt2_facts(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith(f"extra/{KEY}.json")), None)
        return archive.read(name).decode("utf-8") if name else None


def _safetensors_facts(path: Path) -> str | None:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get(KEY)


def _openvino_facts(path: Path) -> str | None:
    if path.stat().st_size > MOST_XML:
        raise WeightsError(f"{path}: too large for an OpenVINO graph.")
    entry = ElementTree.parse(path).getroot().find(f"./rt_info/{KEY}")
    return None if entry is None else entry.get("value")


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
            self.run: Run = OPENERS[self.path.suffix.lower()](self.path, device)
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
