"""Settings of the commands that apply and score saliency networks, and that generate fixation data."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import (
    MAX_SEED,
    MAX_WORKERS,
    Compile,
    Config,
    InferenceConfig,
    MaxPixels,
    Overwrite,
    RuntimeConfig,
    Seed,
)
from cvkit.config.option import COMPUTE, DATA, INPUTS, MAX_SIDE, OUTPUT, SCORING, Option
from cvkit.config.shared import Alpha, ColorMap, NamedWeights, TrainedModel
from cvkit.config.values import format_size, parse_size
from cvkit.errors import UsageError

MAP_FORMATS = ("png", "png16", "npy")
PROTOCOLS = ("mit", "tuebingen")
SPLITS = ("train", "val", "test", "all")
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
FixationData = Annotated[
    str, Option(help="Data set folder, or a manifest CSV file.", panel=DATA, metavar="DIR|FILE", access="read")
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
class EvaluateConfig(RuntimeConfig):
    """Settings of ``cvkit evaluate``. ``split`` None scores val, else test, else the only split besides train."""

    data: FixationData
    maps: Annotated[
        str | None,
        Option(
            help="Folder of maps to score, matched to the images by stem.", panel=INPUTS, metavar="DIR", access="read"
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            help="Model to score: a run folder, a checkpoint, an exported file, or a name (with --weights).",
            panel=INPUTS,
            names=("--model", "--checkpoint"),
            metavar="REF",
            complete="saliency-model",
            access="read",
        ),
    ] = None
    weights: NamedWeights = None
    compile: Compile = False
    protocol: Annotated[
        str,
        Option(
            help="Conventions of the scores: the MIT saliency benchmark's or pysaliency's (Tübingen).",
            panel=SCORING,
            choices=PROTOCOLS,
        ),
    ] = "mit"
    split: Annotated[
        str | None,
        Option(
            help="Split of the data set to score: any split by its name, or all.",
            panel=DATA,
            choices=SPLITS,
            other="NAME",
            default_text="val, else test, else the only one besides train",
        ),
    ] = None
    out: Annotated[
        str | None,
        Option(
            help="Folder for scores.csv and summary.json.",
            panel=OUTPUT,
            metavar="DIR",
            default_text="nothing is written",
            access="write",
        ),
    ] = None
    baseline: Annotated[
        str,
        Option(
            help="Map that information gain is measured against: the centre prior, the mean training map, or a file.",
            panel=SCORING,
            choices=("centre", "mean"),
            other="FILE",
        ),
    ] = "centre"
    with_baselines: Annotated[
        bool,
        Option(
            help="Also score the centre prior, the mean training map, and one half of the viewers by the other half.",
            panel=SCORING,
        ),
    ] = False
    shuffled_images: Annotated[
        int | None,
        Option(
            help="Number of other images whose fixations are the negatives of shuffled AUC.",
            panel=SCORING,
            minimum=1,
            default_text="10 for mit, all for tuebingen",
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option(
            help="Number of threads that read and score images. The scores do not depend on it.",
            panel=COMPUTE,
            minimum=0,
            limit=MAX_WORKERS,
            default_text="one per core, at most 16",
            changeable=True,
        ),
    ] = None
    sigma_px: SigmaPx = None
    emd: Annotated[bool, Option(help="Compute the earth mover's distance (mit only).", panel=SCORING)] = True
    seed: Seed = 0
    overwrite: Overwrite = False
    max_pixels: MaxPixels = 178_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.maps is None) == (self.model is None):
            raise UsageError("name what to score with either --maps DIR or --model REF, not both.")


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
