"""Options for the preprocessing and the construction of a classifier that is given by name."""

import ast
import math
from dataclasses import dataclass
from typing import Annotated, Any

from cvkit.catalog import CROP_MODES, INTERPOLATIONS
from cvkit.config.base import Config
from cvkit.config.option import MAX_SIDE, MODEL, PREPROCESSING, Option
from cvkit.config.values import format_size, is_whole_number, parse_size, shown
from cvkit.errors import UsageError

DEFAULT_TEXT = "from the weights"
MAX_MEAN = 2  # of values from 0 to 1; larger ones are meant for values from 0 to 255
MAX_ARGUMENT = 1_000  # characters of one KEY=VALUE
# Arguments of timm.create_model and torchvision.models.get_model that are no property of the network, or that cvkit
# sets itself.
RESERVED = (
    "aux_logits",
    "cache_dir",
    "checkpoint_path",
    "device",
    "dtype",
    "exportable",
    "features_only",
    "in_chans",
    "init_weights",
    "model_name",
    "name",
    "no_jit",
    "num_classes",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_model_args",
    "pretrained_strict",
    "progress",
    "scriptable",
    "weights",
)


def parse_rgb(flag: str, text: str) -> tuple[float, float, float]:
    """Read one number for all channels, or three: ``'0.5' -> (0.5, 0.5, 0.5)``, ``'0.485,0.456,0.406'``.

    Raises:
        UsageError: If the text is neither.
    """
    try:
        if not text.isascii():
            raise ValueError  # float() reads digits of every script
        numbers = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{flag} {shown(text)}: write one number, or three as R,G,B.") from error
    if len(numbers) not in (1, 3):
        raise UsageError(f"{flag} {shown(text)}: write one number, or three as R,G,B, not {len(numbers)}.")
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
    return red, green, blue


def format_rgb(values: tuple[float, ...]) -> str:
    """Write numbers per channel as ``parse_rgb`` reads them, equal ones once."""
    return ",".join(map(str, values[:1] if len(set(values)) == 1 else values))


def parse_input_size(flag: str, text: str) -> tuple[int, int]:
    """Read height x width in pixels, or one number for both: ``'224' -> (224, 224)``."""
    return (int(text), int(text)) if is_whole_number(text) else parse_size(flag, text)


@dataclass(frozen=True, kw_only=True)
class ModelArgumentsConfig(Config):
    """Arguments with which a named classifier is built."""

    model_arg: Annotated[
        tuple[str, ...],
        Option(
            help="Argument for the network's builder in timm or torchvision, such as pad_type=same; may be repeated.",
            panel=MODEL,
            metavar="KEY=VALUE",
            repeat=True,
        ),
    ] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_arguments(self.model_arg)


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig(ModelArgumentsConfig):
    """Preprocessing of a classifier's images; None takes what the weights require.

    Names and meaning are those of timm's ``validate.py``.
    """

    mean: Annotated[
        tuple[float, float, float] | None,
        Option(
            help="Mean of the normalisation, one number or one per channel, for values from 0 to 1.",
            panel=PREPROCESSING,
            metavar="R,G,B",
            parse=parse_rgb,
            format=format_rgb,
            minimum=-MAX_MEAN,
            default_text=DEFAULT_TEXT,
        ),
    ] = None
    std: Annotated[
        tuple[float, float, float] | None,
        Option(
            help="Standard deviation of the normalisation, one number or one per channel, for values from 0 to 1.",
            panel=PREPROCESSING,
            metavar="R,G,B",
            parse=parse_rgb,
            format=format_rgb,
            above=0,
            default_text=DEFAULT_TEXT,
        ),
    ] = None
    input_size: Annotated[
        tuple[int, int] | None,
        Option(
            help="Size of the network's input in pixels, HxW or one number.",
            panel=PREPROCESSING,
            metavar="HxW",
            minimum=1,
            limit=MAX_SIDE,
            parse=parse_input_size,
            format=format_size,
            default_text=DEFAULT_TEXT,
        ),
    ] = None
    interpolation: Annotated[
        str | None,
        Option(
            help="Interpolation with which images are resized.",
            panel=PREPROCESSING,
            choices=INTERPOLATIONS,
            default_text=DEFAULT_TEXT,
        ),
    ] = None
    crop_pct: Annotated[
        float | None,
        Option(
            help="Size of the crop as a fraction of the resized image: 0.875 resizes to 256 pixels and crops 224.",
            panel=PREPROCESSING,
            above=0,
            maximum=1,
            default_text=DEFAULT_TEXT,
        ),
    ] = None
    crop_mode: Annotated[
        str | None,
        Option(
            help="Crop: center keeps the aspect ratio and crops, squash does not keep it, border pads the longer side.",
            panel=PREPROCESSING,
            choices=CROP_MODES,
            default_text=DEFAULT_TEXT,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_unit(self.mean, self.std)


def _check_unit(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    """Refuse a normalisation for values from 0 to 255: the result would be nearly constant images."""
    for flag, values in (("--mean", mean), ("--std", std)):
        if values is not None and max(values) > MAX_MEAN:
            given, scaled = format_rgb(values), format_rgb(tuple(round(value / 255, 4) for value in values))
            raise UsageError(f"{flag} {given} is for values from 0 to 255; pixels are scaled to 0..1: write {scaled}.")


def parse_arguments(words: tuple[str, ...]) -> dict[str, Any]:
    """Read the values of ``--model-arg``, as timm's ParseKwargs does: Python literals, and other values as text.

    Args:
        words: Texts of the form KEY=VALUE.

    Raises:
        UsageError: If a text has another form, or names an argument that cvkit sets.
    """
    arguments: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier() or len(word) > MAX_ARGUMENT:
            raise UsageError(f"--model-arg {shown(word)}: write KEY=VALUE, for example pad_type=same.")
        if key in RESERVED:
            raise UsageError(f"--model-arg {key}: the command sets this argument itself; leave it out.")
        if key in arguments:
            raise UsageError(f"--model-arg {key} is given twice.")
        arguments[key] = _literal(text)
    return arguments


def _literal(text: str) -> Any:
    """Return a Python literal as its value, and any other text as it is."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value
