"""Settings of the commands that apply and explain image classifiers."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import PRECISIONS, Compile, InferenceConfig
from cvkit.config.option import COMPUTE, EXPLANATION, MODEL, OUTPUT, SCORING, Option
from cvkit.config.preprocessing import PreprocessingConfig
from cvkit.config.shared import Alpha, ColorMap, Labels
from cvkit.config.values import shown
from cvkit.errors import UsageError

TABLE_FORMATS = ("csv", "json", "parquet")
FITS = ("crop", "squash")
GRADCAM_FORMATS = ("png16", "png", "colour")
MAX_TOP = 1_000_000
RANK_DIGITS = 6  # a rank with more digits is a typing error, and its range would fill the memory
FOLDER_LETTERS = 60  # length of the part of a default folder name that lists ranks or classes
METHODS = (
    "gradcam",
    "gradcam++",
    "hirescam",
    "xgradcam",
    "layercam",
    "eigencam",
    "scorecam",
    "guided-backprop",
    "guided-gradcam",
)
SAVES = ("map", "overlay", "panel", "npy")

Classifier = Annotated[
    str,
    Option(
        help="Classifier: a run folder, a checkpoint, an exported file, or a name of torchvision (vgg16), of timm "
        "(timm:NAME) or of cvkit (basic-cnn; with --weights).",
        panel=MODEL,
        metavar="REF",
        complete="model",
        access="read",
    ),
]
Weights = Annotated[
    str,
    Option(
        help="Weights of the model: its published ones, random ones, or a file with any number of classes.",
        panel=MODEL,
        choices=("pretrained", "none"),
        other="FILE",
        access="read",
    ),
]
Truth = Annotated[
    str | None,
    Option(
        help="True classes, for the accuracy: a CSV file with image and class_index, class_id or label, "
        "or the word folders if each image lies in a folder named after its class.",
        panel=SCORING,
        choices=("folders",),
        other="FILE",
        access="read",
    ),
]


def parse_ranks(flag: str, text: str) -> tuple[int, ...]:
    """Read ranks such as ``2``, ``1-3`` or ``1,3``, counted from 1; return each once, in ascending order."""
    ranks: set[int] = set()
    for part in text.split(","):
        ends = [end.strip() for end in part.strip().split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdecimal() and len(end) <= RANK_DIGITS for end in ends):
            raise UsageError(f"{flag} {shown(text)}: write a rank, a range or a list, such as 2, 1-3 or 1,3.")
        low, high = int(ends[0]), int(ends[-1])
        if low < 1:
            raise UsageError(f"{flag} {text}: ranks count from 1, which is the most likely class.")
        if high < low:
            raise UsageError(f"{flag} {text}: the range {part.strip()} is empty; write {high}-{low}.")
        ranks.update(range(low, high + 1))
    return tuple(sorted(ranks))


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(PreprocessingConfig, InferenceConfig):
    """Settings of a command that sends images through a classifier."""

    model: Classifier
    weights: Weights = "pretrained"
    labels: Labels = None
    precision: Annotated[
        str,
        Option(
            help="Number format of the computation; auto is fp32, because bf16 and fp16 change results visibly.",
            panel=COMPUTE,
            choices=PRECISIONS,
        ),
    ] = "auto"
    out: Annotated[
        str | None,
        Option(
            help="Result folder; running the same command again completes it.",
            panel=OUTPUT,
            metavar="DIR",
            default_text="named after command, model and settings",
            access="write",
        ),
    ] = None

    @property
    def folder(self) -> str:
        """The result folder: ``out``, or one named after the settings."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(ClassifierConfig):
    """Settings of ``cvkit classify``."""

    compile: Compile = False
    top: Annotated[int, Option(help="Number of classes per image.", panel=OUTPUT, minimum=1, limit=MAX_TOP)] = 3
    format: Annotated[
        str,
        Option(
            help="Format of the results; json and parquet are written in addition to results.csv.",
            panel=OUTPUT,
            choices=TABLE_FORMATS,
        ),
    ] = "csv"
    truth: Truth = None
    per_class: Annotated[
        bool, Option(help="Also write the accuracy of each class to per_class.csv.", panel=SCORING)
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_class and self.truth is None:
            raise UsageError("--per-class needs the true classes: add --truth labels.csv or --truth folders.")

    @property
    def folder(self) -> str:
        """The result folder: ``out``, or ``classify/MODEL``."""
        return self.out or f"classify/{folder_name(self.model)}"


@dataclass(frozen=True, kw_only=True)
class GradcamConfig(ClassifierConfig):
    """Settings of ``cvkit gradcam``. ``classes`` replaces ``rank``; ``layer`` None takes the model's default layer."""

    model: Annotated[
        str,
        Option(
            help="Classifier: a run folder, a checkpoint, an exported .safetensors file, or a name of torchvision "
            "(vgg16), of timm (timm:NAME) or of cvkit (basic-cnn; with --weights).",
            panel=MODEL,
            metavar="REF",
            complete="model",
            access="read",
        ),
    ] = "vgg16"
    rank: Annotated[
        tuple[int, ...],
        Option(
            help="Ranks of the predicted classes to explain; 1 is the most likely class.",
            panel=EXPLANATION,
            metavar="2|1-3|1,3",
            minimum=1,
            parse=parse_ranks,
        ),
    ] = (1,)
    classes: Annotated[
        tuple[str, ...],
        Option(
            help="Class to explain in place of the classes of --rank, by name, index or WordNet id; may be repeated.",
            panel=EXPLANATION,
            names=("--class",),
            metavar="CLASS",
            repeat=True,
            complete="class",
        ),
    ] = ()
    layer: Annotated[
        str | None,
        Option(
            help="Target layer, one of those that `cvkit models show` lists.",
            panel=EXPLANATION,
            metavar="NAME",
            default_text="the last layer with a spatial grid",
            complete="layer",
        ),
    ] = None
    fit: Annotated[
        str,
        Option(
            help="Preparation of the image: crop it as the weights require, as classify does, or squash all of it.",
            panel=EXPLANATION,
            choices=FITS,
        ),
    ] = "crop"
    method: Annotated[str, Option(help="Explanation method.", panel=EXPLANATION, choices=METHODS)] = "gradcam"
    smooth: Annotated[
        bool,
        Option(help="Average the map over the mirrored image and three contrasts (6 passes).", panel=EXPLANATION),
    ] = False
    save: Annotated[
        tuple[str, ...],
        Option(help="Kinds of files to write, separated by commas.", panel=OUTPUT, choices=SAVES, metavar="KIND,..."),
    ] = ("map", "overlay", "panel")
    format: Annotated[
        str,
        Option(
            help="Format of the map: grey PNG of 16 or 8 bits, or a PNG in colours.",
            panel=OUTPUT,
            choices=GRADCAM_FORMATS,
        ),
    ] = "png16"
    colormap: ColorMap = "turbo"
    alpha: Alpha = 0.6
    faithfulness: Annotated[
        bool,
        Option(
            help="Also score each map by average drop, increase in confidence, deletion, insertion and ROAD.",
            panel=SCORING,
        ),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rank and not self.classes:
            raise UsageError("name what to explain: --rank 1, or --class with a name or an index.")
        if self.classes and self.rank not in ((), GradcamConfig.rank):
            raise UsageError("--rank and --class both select the classes to explain: use one of them.")
        if self.layer is not None and self.method == "guided-backprop":
            raise UsageError("--layer has no effect on guided-backprop, which explains by pixels: leave --layer out.")
        if not self.save:
            raise UsageError(f"--save is empty: name one or more of {', '.join(SAVES)}.")

    @property
    def folder(self) -> str:
        """The result folder: ``out``, or ``gradcam/MODEL-METHOD-FIT-CLASSES`` without the parts that are default."""
        if self.out:
            return self.out
        changed = [word for word, usual in ((self.method, "gradcam"), (self.fit, "crop")) if word != usual]
        return "gradcam/" + "-".join([folder_name(self.model), *changed, self._explained()])

    def _explained(self) -> str:
        """Name the explained classes, for a folder."""
        if self.classes:
            return ("class-" + "-".join(folder_name(word) for word in self.classes))[:FOLDER_LETTERS]
        first, last = self.rank[0], self.rank[-1]
        if len(self.rank) > 2 and last - first == len(self.rank) - 1:
            return f"rank{first}-to-{last}"
        return ("rank" + "-".join(map(str, self.rank)))[:FOLDER_LETTERS]


def folder_name(text: str) -> str:
    """Return a name that every file system takes: letters, digits, dots, dashes and underscores."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in text).strip(".-") or "unnamed"
