"""Settings of the command that exports models for other programs."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.classification import MAX_TOP, Weights
from cvkit.config.option import FILE, GRAPH, MODEL, OUTPUT, VERIFICATION, Option
from cvkit.config.preprocessing import PreprocessingConfig
from cvkit.config.shared import Labels
from cvkit.errors import UsageError

EXPORT_FORMATS = ("onnx", "pt2", "safetensors", "openvino")
EXPORT_PRECISIONS = ("fp32", "fp16")
QUANTIZED = ("int8",)
DYNAMIC = ("batch", "height", "width")
LAYOUTS = ("nchw", "nhwc")
PARTS = ("encoder", "whole")
MIN_OPSET = 18  # torch's exporter writes no older operator set


@dataclass(frozen=True, kw_only=True)
class ExportConfig(PreprocessingConfig):
    """Settings of ``cvkit export``. Either ``model`` is exported or ``inspect`` names a file to describe."""

    model: Annotated[
        str | None,
        Option(
            help="Model to export: a run folder, a checkpoint, an exported .safetensors file, or a name of torchvision "
            "(vgg16), of timm (timm:NAME) or of cvkit (basic-cnn, mlnet; with --weights).",
            panel=MODEL,
            names=("--model",),
            metavar="REF",
            argument=True,
            complete="model",
            access="read",
        ),
    ] = None
    inspect: Annotated[
        str | None,
        Option(
            help="Print the metadata of an exported file instead of exporting.",
            panel=MODEL,
            metavar="FILE",
            access="read",
        ),
    ] = None
    format: Annotated[
        str, Option(help="File format; pt2 is a torch.export archive.", panel=FILE, choices=EXPORT_FORMATS)
    ] = "onnx"
    out: Annotated[
        str | None,
        Option(
            help="File to write.", panel=OUTPUT, metavar="FILE", default_text="named after the model", access="write"
        ),
    ] = None
    weights: Weights = "pretrained"
    labels: Labels = None
    part: Annotated[str, Option(help="Part of an autoencoder to export.", panel=GRAPH, choices=PARTS)] = "encoder"
    precision: Annotated[
        str, Option(help="Number format of weights and computation.", panel=FILE, choices=EXPORT_PRECISIONS)
    ] = "fp32"
    opset: Annotated[int, Option(help="Version of the ONNX operator set.", panel=FILE, minimum=MIN_OPSET)] = MIN_OPSET
    dynamic: Annotated[
        tuple[str, ...],
        Option(
            help="Dimensions of variable size, separated by commas; none fixes all of them.",
            panel=GRAPH,
            choices=DYNAMIC,
            metavar="DIM,...|none",
            unset="none",
        ),
    ] = ("batch",)
    simplify: Annotated[bool, Option(help="Simplify the ONNX graph with onnxslim.", panel=FILE)] = False
    include_preprocessing: Annotated[
        bool, Option(help="Let the graph take uint8 images: include scaling and normalisation.", panel=GRAPH)
    ] = False
    layout: Annotated[
        str, Option(help="Layout of the uint8 images of --include-preprocessing.", panel=GRAPH, choices=LAYOUTS)
    ] = "nchw"
    include_postprocessing: Annotated[
        bool,
        Option(
            help="Let the graph return the --top classes of a classifier, or a saliency map from 0 to 1.", panel=GRAPH
        ),
    ] = False
    top: Annotated[
        int,
        Option(help="Number of classes that --include-postprocessing returns.", panel=GRAPH, minimum=1, limit=MAX_TOP),
    ] = 5
    with_cam: Annotated[
        bool, Option(help="Let the graph also return the Grad-CAM map of the top class.", panel=GRAPH)
    ] = False
    quantize: Annotated[
        str | None,
        Option(
            help="Quantise weights and activations to 8-bit integers (ONNX only).",
            panel=FILE,
            choices=QUANTIZED,
            default_text="not quantised",
        ),
    ] = None
    calibrate: Annotated[
        str | None,
        Option(
            help="Images for quantisation, verification and the benchmark.",
            panel=VERIFICATION,
            metavar="DIR",
            default_text="photographs of scikit-image",
            access="read",
        ),
    ] = None
    benchmark: Annotated[
        bool, Option(help="Measure the exported file against eager and compiled PyTorch.", panel=VERIFICATION)
    ] = False
    truth: Annotated[
        str | None,
        Option(
            help="True classes of the --calibrate images, for the accuracy in the benchmark: a CSV file, or folders.",
            panel=VERIFICATION,
            choices=("folders",),
            other="FILE",
            access="read",
        ),
    ] = None
    atol: Annotated[
        float | None,
        Option(
            help="Largest allowed difference from PyTorch.",
            panel=VERIFICATION,
            above=0,
            default_text="1e-4; fp16 and int8: any",
        ),
    ] = None
    rtol: Annotated[
        float | None,
        Option(
            help="Largest allowed difference as a fraction of the largest output value.",
            panel=VERIFICATION,
            above=0,
            default_text="0.001; fp16: 0.03; int8: 0.25",
        ),
    ] = None
    overwrite: Annotated[bool, Option(help="Replace an existing file.", panel=OUTPUT)] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inspect is not None:
            if self.model is not None:
                raise UsageError(f"--inspect {self.inspect} excludes exporting: leave out {self.model}.")
            return
        if self.model is None:
            raise UsageError("missing argument MODEL: name a run folder, a checkpoint or a model; or --inspect FILE.")
        if self.layout == "nhwc" and not self.include_preprocessing:
            raise UsageError("--layout nhwc is for the uint8 images of --include-preprocessing: add it.")
        if self.simplify and self.format != "onnx":
            raise UsageError("--simplify is for --format onnx.")
        if self.format == "safetensors":
            self._check_weights_only()
        if self.quantize is not None:
            self._check_quantize()
        if self.truth is not None and not (self.benchmark and self.calibrate):
            raise UsageError("--truth needs --benchmark and --calibrate: the accuracy is that of their images.")

    def _check_weights_only(self) -> None:
        """Refuse options of a graph for a format that holds weights only."""
        graph = {
            "--include-preprocessing": self.include_preprocessing,
            "--include-postprocessing": self.include_postprocessing,
            "--with-cam": self.with_cam,
        }
        for flag, value in graph.items():
            if value:
                raise UsageError(f"{flag} changes the graph, but safetensors holds only weights: use onnx or pt2.")
        if self.benchmark:
            raise UsageError("--benchmark runs the file, but safetensors holds only weights: use onnx or pt2.")

    def _check_quantize(self) -> None:
        if self.format != "onnx":
            raise UsageError("--quantize uses onnxruntime: it is for --format onnx.")
        if self.precision != "fp32":
            raise UsageError("--quantize starts from float32: leave out --precision.")
        if self.calibrate is None:
            raise UsageError("--quantize int8 needs sample images for its value ranges: add --calibrate DIR.")
