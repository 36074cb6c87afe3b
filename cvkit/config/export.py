"""The settings of the command that writes models for other programs."""

from dataclasses import dataclass

from cvkit.config.base import Config
from cvkit.config.checks import at_least, one_of
from cvkit.errors import UsageError

EXPORT_FORMATS = ("onnx", "pt2", "safetensors", "openvino")
EXPORT_PRECISIONS = ("fp32", "fp16")
QUANTIZED = ("int8",)
DYNAMIC = ("batch", "height", "width")
LAYOUTS = ("nchw", "nhwc")
PARTS = ("encoder", "whole")
FIRST_OPSET = 18  # torch's exporter of today writes no older one


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """``cvkit export``. ``model`` is a run folder, a checkpoint file or a name; ``out`` None is named after it."""

    model: str
    format: str = "onnx"
    out: str | None = None
    weights: str = "pretrained"
    labels: str | None = None
    part: str = "encoder"
    precision: str = "fp32"
    opset: int = FIRST_OPSET
    dynamic: tuple[str, ...] = ("batch",)
    simplify: bool = False
    include_preprocessing: bool = False
    layout: str = "nchw"
    include_postprocessing: bool = False
    top: int = 5
    with_cam: bool = False
    quantize: str | None = None
    calibrate: str | None = None
    benchmark: bool = False
    truth: str | None = None
    atol: float | None = None
    rtol: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        one_of("--format", self.format, EXPORT_FORMATS)
        one_of("--precision", self.precision, EXPORT_PRECISIONS)
        one_of("--layout", self.layout, LAYOUTS)
        one_of("--part", self.part, PARTS)
        for word in self.dynamic:
            one_of("--dynamic", word, DYNAMIC)
        at_least("--opset", self.opset, FIRST_OPSET)
        at_least("--top", self.top, 1)
        for flag, value in (("--atol", self.atol), ("--rtol", self.rtol)):
            if value is not None and not value > 0:
                raise UsageError(f"{flag} must be above 0, not {value:g}.")
        if self.layout == "nhwc" and not self.include_preprocessing:
            raise UsageError("--layout nhwc is that of the bytes that --include-preprocessing takes; add it.")
        if self.format == "safetensors":
            graph = {
                "--include-preprocessing": self.include_preprocessing,
                "--include-postprocessing": self.include_postprocessing,
                "--with-cam": self.with_cam,
            }
            for flag, asked in graph.items():
                if asked:
                    raise UsageError(
                        f"{flag} is part of a graph; safetensors holds weights alone: onnx and pt2 take it."
                    )
        if self.simplify and self.format != "onnx":
            raise UsageError("--simplify is for --format onnx.")
        if self.quantize is not None:
            self._check_quantize(self.quantize)
        if self.benchmark and self.format == "safetensors":
            raise UsageError("--benchmark times a file that runs; safetensors holds weights alone.")
        if self.truth is not None and not (self.benchmark and self.calibrate):
            raise UsageError("--truth is for the accuracy of --benchmark on the images of --calibrate: add both.")

    def _check_quantize(self, kind: str) -> None:
        one_of("--quantize", kind, QUANTIZED)
        if self.format != "onnx":
            raise UsageError("--quantize is onnxruntime's, for --format onnx.")
        if self.precision != "fp32":
            raise UsageError("--quantize begins from float32: leave out --precision.")
        if self.calibrate is None:
            raise UsageError("--quantize int8 needs images such as the network will see: --calibrate DIR.")
