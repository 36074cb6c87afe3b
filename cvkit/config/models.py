"""Settings of ``cvkit models`` and of ``cvkit env``."""

from dataclasses import dataclass, replace
from typing import Annotated

from cvkit.config.base import BATCH_SIZE, Config, DeviceConfig, MaxPixels
from cvkit.config.classification import Weights
from cvkit.config.option import DATA, INPUTS, MAX_SIDE, MODEL, OUTPUT, Option
from cvkit.config.preprocessing import ModelArgumentsConfig, PreprocessingConfig
from cvkit.config.shared import Labels
from cvkit.config.values import format_size, parse_size

Name = Annotated[
    str,
    Option(
        help="Model name, with or without the tag of its weights, as `cvkit models list` shows it.",
        panel=MODEL,
        metavar="NAME",
        argument=True,
        complete="model",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ListModelsConfig(Config):
    """Settings of ``cvkit models list``. The pattern ignores case and may match anywhere if it has no wildcards."""

    pattern: Annotated[
        str | None,
        Option(
            help="Part of a name, or a pattern such as 'timm:vit_*_224'.",
            panel=MODEL,
            metavar="PATTERN",
            argument=True,
            complete="model",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ModelPathConfig(Config):
    """Settings of ``cvkit models path``."""

    model: Name


@dataclass(frozen=True, kw_only=True)
class DownloadModelConfig(Config):
    """Settings of ``cvkit models download``."""

    model: Name
    to: Annotated[
        str | None,
        Option(help="Folder to which the file is copied as well.", panel=OUTPUT, metavar="DIR", access="write"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShowModelConfig(ModelArgumentsConfig):
    """Settings of ``cvkit models show``. ``size`` None takes the model's own input size."""

    model: Annotated[
        str,
        Option(
            help="Model: a name, a run folder, a checkpoint or an exported file.",
            panel=MODEL,
            metavar="MODEL",
            argument=True,
            complete="model",
        ),
    ]
    size: Annotated[
        tuple[int, int] | None,
        Option(
            help="Size of the input images in pixels.",
            panel=INPUTS,
            metavar="HxW",
            minimum=1,
            limit=MAX_SIDE,
            parse=parse_size,
            format=format_size,
            default_text="from the model",
        ),
    ] = None
    batch: Annotated[int, Option(help="Number of images per batch.", panel=INPUTS, minimum=1, limit=1_000_000)] = 1


@dataclass(frozen=True, kw_only=True)
class CheckModelConfig(PreprocessingConfig, DeviceConfig):
    """Settings of ``cvkit models check``. A part of the preprocessing that is given is not varied."""

    model: Annotated[
        str,
        Option(
            help="Classifier: a torchvision name (vgg16) or a timm name (timm:NAME).",
            panel=MODEL,
            names=("--model",),
            metavar="REF",
            argument=True,
            complete="model",
        ),
    ]
    data: Annotated[
        str,
        Option(help="Folder of images whose classes are known.", panel=DATA, metavar="DIR", access="read"),
    ]
    truth: Annotated[
        str,
        Option(
            help="True classes: a CSV file with image and class_index, class_id or label, or the word folders if each "
            "image lies in a folder named after its class.",
            panel=DATA,
            choices=("folders",),
            other="FILE",
            access="read",
        ),
    ] = "folders"
    limit: Annotated[
        int, Option(help="Use at most this number of images, taken evenly from the folder.", panel=DATA, minimum=1)
    ] = 500
    weights: Weights = "pretrained"
    labels: Labels = None
    batch_size: Annotated[
        int | None,
        replace(BATCH_SIZE, help="Images per batch; auto is 32.", changeable=False),
    ] = None
    max_pixels: MaxPixels = 178_000_000


@dataclass(frozen=True, kw_only=True)
class EnvConfig(Config):
    """Settings of ``cvkit env``, which has no options of its own."""
