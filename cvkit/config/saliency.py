"""Settings of the commands that apply saliency networks, and that generate fixation data."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import MAX_SEED, Compile, Config, InferenceConfig, Overwrite
from cvkit.config.option import DATA, MAX_SIDE, OUTPUT, Option
from cvkit.config.shared import Alpha, ColorMap, NamedWeights, TrainedModel
from cvkit.config.values import format_size, parse_size
from cvkit.errors import UsageError

MAP_FORMATS = ("png", "png16", "npy")
MIN_DISPLAY_PX = 96
MAX_SIGMA_PX = 10_000

SigmaPx = Annotated[
    float | None,
    Option(
        help="Standard deviation in pixels of the Gaussian that turns fixations into a map where the data has none.",
        panel=DATA,
        above=0,
        limit=MAX_SIGMA_PX,
        default_text="0.03 of the image's longer side",
    ),
]


@dataclass(frozen=True, kw_only=True)
class PredictConfig(InferenceConfig):
    """Settings of ``cvkit predict``. ``size`` None writes each map at the size of its image."""

    model: TrainedModel
    weights: NamedWeights = None
    compile: Compile = False
    out: Annotated[
        str,
        Option(
            help="Result folder; running the same command again completes it.",
            panel=OUTPUT,
            metavar="DIR",
            access="write",
        ),
    ] = "maps"
    format: Annotated[
        str, Option(help="Format of the maps: PNG of 8 or 16 bits, or float32.", panel=OUTPUT, choices=MAP_FORMATS)
    ] = "png"
    size: Annotated[
        tuple[int, int] | None,
        Option(
            help="Size of the maps in pixels; input is the size of each image.",
            panel=OUTPUT,
            metavar="input|HxW",
            minimum=1,
            limit=MAX_SIDE,
            parse=parse_size,
            format=format_size,
            unset="input",
        ),
    ] = None
    overlay: Annotated[
        bool, Option(help="Also write the map blended with the image (NAME.overlay.jpg).", panel=OUTPUT)
    ] = False
    colormap: ColorMap = "inferno"
    alpha: Alpha = 0.6
    blur_px: Annotated[
        float,
        Option(
            help="Standard deviation of a Gaussian blur of the map, in pixels of the map; 0 switches it off.",
            panel=OUTPUT,
            minimum=0,
            limit=MAX_SIGMA_PX,
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class SampleFixationsConfig(Config):
    """Settings of ``cvkit sample-data fixations``."""

    out: Annotated[str, Option(help="Folder to write.", panel=OUTPUT, metavar="DIR", argument=True, access="write")]
    train: Annotated[int, Option(help="Number of training displays.", panel=DATA, minimum=1, limit=10_000_000)] = 240
    val: Annotated[int, Option(help="Number of validation displays.", panel=DATA, minimum=1, limit=10_000_000)] = 40
    size: Annotated[
        tuple[int, int],
        Option(
            help=f"Size of a display in pixels; each side has at least {MIN_DISPLAY_PX}.",
            panel=DATA,
            metavar="HxW",
            minimum=1,
            limit=MAX_SIDE,
            parse=parse_size,
            format=format_size,
        ),
    ] = (240, 320)
    sigma_px: SigmaPx = None
    seed: Annotated[
        int, Option(help="Seed for the displays and the fixations.", panel=DATA, minimum=0, limit=MAX_SEED)
    ] = 0
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size) < MIN_DISPLAY_PX:
            raise UsageError(
                f"--size {format_size(self.size)} is too small: a display needs {MIN_DISPLAY_PX} pixels per side."
            )
