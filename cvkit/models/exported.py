"""Models that another program can run: what such a file says of itself, and how it is run here."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor, nn

from cvkit.catalog import Preprocessing
from cvkit.errors import UsageError, WeightsError
from cvkit.models.runtimes import OPENERS, Run, need

KEY = "cvkit"  # of the metadata in the file
SUFFIXES = (".onnx", ".pt2", ".safetensors", ".xml")
MOST_XML = 2**28  # bytes of an OpenVINO graph, which is read whole for what it says of itself
KINDS = ("classifier", "saliency", "encoder", "autoencoder")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What an exported file says of itself.

    ``kind`` is one of KINDS; ``spec`` what rebuilds the network. Images are (N, C, H, W) float, normalised by ``mean``
    and ``std`` of values in 0..1, or with ``input`` "uint8" bytes in ``layout`` nchw or nhwc; ``size`` is (height,
    width). ``outputs`` names the outputs, ``dynamic`` the dimensions that may vary, ``precision`` is fp32, fp16
    or int8.
    """

    kind: str
    model: str
    spec: dict[str, Any]
    channels: int
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[str, ...]
    input: str = "float"
    layout: str = "nchw"
    dynamic: tuple[str, ...] = ("batch",)
    precision: str = "fp32"
    preprocessing: dict[str, Any] | None = None
    labels: tuple[str, ...] = ()
    class_ids: tuple[str, ...] = ()
    licence: str | None = None
    weights_sha256: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def way(self) -> Preprocessing | None:
        """How a classifier wants its images; None for a network that takes them brought to its size."""
        if self.preprocessing is None:
            return None
        given = self.preprocessing.items()
        way: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
        return Preprocessing(**way)

    def as_json(self) -> str:
        """Return the facts as a JSON document."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> "Facts":
        """Read facts as ``as_json`` wrote them; raises WeightsError for anything else."""
        try:
            values = json.loads(text)
            known = {part.name for part in fields(cls)}
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            facts = cls(**{name: value for name, value in (values | lists).items() if name in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{where}: what it says of itself cannot be read; was it made by another cvkit?"
            ) from error
        if facts.kind not in KINDS:
            raise WeightsError(f"{where}: a model of kind {facts.kind!r}, which this cvkit does not know.")
        return facts


def is_exported(place: str) -> bool:
    """Tell by its suffix whether a file may be an exported model that runs here (.onnx, .pt2, .xml)."""
    return Path(place).suffix.lower() in OPENERS


def read_facts(path: Path) -> Facts:
    """Return what an exported file says of itself; raises WeightsError where it says nothing or cannot be read."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file.")
    readers: dict[str, Callable[[Path], str | None]] = {
        ".onnx": _onnx_facts,
        ".pt2": _pt2_facts,
        ".safetensors": _safetensors_facts,
        ".xml": _openvino_facts,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: not an exported model (one of {', '.join(SUFFIXES)}).")
    try:
        text = reader(path)
    except (UsageError, WeightsError):
        raise
    except Exception as error:
        raise WeightsError(f"{path}: damaged, or no {path.suffix} file ({_brief(error)}).") from error
    if text is None:
        raise WeightsError(f"{path}: says nothing of itself: it was not written by cvkit export.")
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
        raise WeightsError(f"{path}: too large for a graph of OpenVINO.")
    entry = ElementTree.parse(path).getroot().find(f"./rt_info/{KEY}")
    return None if entry is None else entry.get("value")


class ExportedNetwork(nn.Module):
    """An exported ONNX, pt2 or OpenVINO file as a network: images in, its first output out, whatever runs it.

    It takes what the file takes: normalised (N, C, H, W) float, or bytes when ``takes_bytes``. ONNX runs in
    onnxruntime, on a GPU when its CUDA provider is there; pt2 in torch; OpenVINO on the processor. Raises WeightsError
    for a file that cannot be read.
    """

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        super().__init__()
        self.path, self.facts = path, read_facts(path)
        self.takes_bytes = self.facts.input == "uint8"
        self.place(device or torch.device("cpu"))

    def place(self, device: torch.device) -> None:
        """Open the file anew, to run on a device."""
        try:
            self.run: Run = OPENERS[self.path.suffix.lower()](self.path, device)
        except UsageError:
            raise
        except Exception as error:
            raise WeightsError(f"{self.path}: cannot be loaded ({_brief(error)}).") from error

    def forward(self, images: Tensor) -> Tensor:
        """Return the first output, float32, on the device of the images."""
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


def check_kind(facts: Facts, wanted: Mapping[str, str], path: str) -> None:
    """Refuse a file whose kind is not in ``wanted``, or whose first output is not the one given there."""
    if facts.kind not in wanted:
        raise WeightsError(f"{path}: an exported {facts.kind}; this command needs one of {', '.join(wanted)}.")
    if facts.outputs[0] != wanted[facts.kind]:
        raise WeightsError(
            f"{path}: ends in {', '.join(facts.outputs)}, and not in {wanted[facts.kind]}: "
            "export it without --include-postprocessing."
        )


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160].rstrip(".")
