"""The settings of the commands around image classifiers."""

from dataclasses import dataclass

from cvkit.config.base import Config, InferenceConfig
from cvkit.config.checks import at_least, one_of
from cvkit.errors import UsageError

TABLE_FORMATS = ("csv", "json", "parquet")
FITS = ("crop", "squash")
GRADCAM_FORMATS = ("png16", "png", "colour")
RANK_DIGITS = 6  # of the largest rank: "1-9999999999" is a slip that would fill the memory
FOLDER_LETTERS = 60  # of the part of a default folder's name that tells what is explained
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


def parse_ranks(text: str) -> tuple[int, ...]:
    """Read ranks such as ``2``, ``1-3`` or ``1,3``, counted from 1, each once and in order."""
    ranks: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split("-")
        if len(ends) > 2 or not all(end.strip().isdecimal() and len(end.strip()) <= RANK_DIGITS for end in ends):
            raise UsageError(f"--rank {text!r}: write a rank, a range or a list, such as 2, 1-3 or 1,3.")
        low, high = int(ends[0]), int(ends[-1])
        if low < 1:
            raise UsageError(f"--rank {text}: ranks count from 1, the class the network holds most likely.")
        if high < low:
            raise UsageError(f"--rank {text}: the range {part.strip()} is empty; write {high}-{low}.")
        ranks.update(range(low, high + 1))
    return tuple(sorted(ranks))


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(InferenceConfig):
    """What every command that sends images through a classifier is told.

    ``weights`` is pretrained, none (random) or a file; an empty ``out`` is a folder named after command and model.
    """

    model: str
    weights: str = "pretrained"
    labels: str | None = None
    out: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise UsageError("--model is empty: name a classifier, such as vgg16 or timm:vit_tiny_patch16_224.")


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(ClassifierConfig):
    """``cvkit classify``. ``truth`` is "folders" or a CSV file of true classes."""

    top: int = 3
    format: str = "csv"
    truth: str | None = None
    per_class: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("--top", self.top, 1)
        one_of("--format", self.format, TABLE_FORMATS)
        if self.per_class and self.truth is None:
            raise UsageError("--per-class needs the true classes: add --truth labels.csv or --truth folders.")
        if not self.out:
            object.__setattr__(self, "out", f"classify/{folder_name(self.model)}")


@dataclass(frozen=True, kw_only=True)
class GradcamConfig(ClassifierConfig):
    """``cvkit gradcam``. ``classes`` (words of ``--class``) replaces ``rank``; ``layer`` None is the model's own."""

    model: str = "vgg16"
    rank: tuple[int, ...] = (1,)
    classes: tuple[str, ...] = ()
    layer: str | None = None
    fit: str = "crop"
    method: str = "gradcam"
    smooth: bool = False
    save: tuple[str, ...] = ("map", "overlay", "panel")
    format: str = "png16"
    colormap: str = "turbo"
    alpha: float = 0.6
    faithfulness: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rank and not self.classes:
            raise UsageError("name what to explain: --rank 1, or --class with a name or an index.")
        if self.layer is not None and self.method == "guided-backprop":
            raise UsageError("--layer: guided-backprop goes down to the pixels, past every layer; leave --layer out.")
        one_of("--method", self.method, METHODS)
        one_of("--fit", self.fit, FITS)
        one_of("--format", self.format, GRADCAM_FORMATS)
        if not self.save:
            raise UsageError(f"--save is empty: name what to write, of {', '.join(SAVES)}.")
        for kind in self.save:
            one_of("--save", kind, SAVES)
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"--alpha must be between 0 and 1, not {self.alpha:g}.")
        if not self.out:
            own = [word for word, usual in ((self.method, "gradcam"), (self.fit, "crop")) if word != usual]
            name = "-".join([folder_name(self.model), *own, self._asked()])
            object.__setattr__(self, "out", f"gradcam/{name}")

    def _asked(self) -> str:
        """Name what is explained, for a folder."""
        if self.classes:
            return ("class-" + "-".join(folder_name(word) for word in self.classes))[:FOLDER_LETTERS]
        first, last = self.rank[0], self.rank[-1]
        if len(self.rank) > 2 and last - first == len(self.rank) - 1:
            return f"rank{first}-to-{last}"
        return ("rank" + "-".join(map(str, self.rank)))[:FOLDER_LETTERS]


@dataclass(frozen=True, kw_only=True)
class ListModelsConfig(Config):
    """``cvkit models list``. ``pattern`` is a glob without case; without wildcards it may stand anywhere in a name."""

    pattern: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """What every command that is told of one model by its name shares; ``cvkit models path`` is told no more."""

    model: str

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("NAME is empty: name a model, such as vgg16 or mlnet; `cvkit models list` has them all.")


@dataclass(frozen=True, kw_only=True)
class ShowModelConfig(ModelConfig):
    """``cvkit models show``. ``size`` (height, width) None is the model's own input size, ``batch`` counts images."""

    size: tuple[int, int] | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("--batch", self.batch, 1)


@dataclass(frozen=True, kw_only=True)
class DownloadModelConfig(ModelConfig):
    """``cvkit models download``. ``to`` is a folder to copy the file to."""

    to: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to == "":
            raise UsageError("--to is empty: name a folder.")


def folder_name(text: str) -> str:
    """Return a name that every file system takes: letters, digits, dots, dashes and underscores."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in text).strip(".-") or "unnamed"
