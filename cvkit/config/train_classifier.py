"""Settings of the command that trains image classifiers."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Self

from cvkit.catalog import CLASSIFIERS, UNNORMALISED
from cvkit.config.augmentation import FROM_RECIPE, AugmentationConfig
from cvkit.config.base import MaxPixels
from cvkit.config.freezing import FreezingConfig
from cvkit.config.option import DATA, MAX_EPOCHS, MODEL, OUTPUT, TRAINING, Option
from cvkit.config.preprocessing import PreprocessingConfig
from cvkit.config.recipes import RECIPES, Recipe
from cvkit.config.shared import Strict
from cvkit.config.training import LAST, OPTIMIZERS, SCHEDULES, RunConfig, TrainingConfig
from cvkit.config.values import shown
from cvkit.errors import UsageError

BALANCES = ("none", "sampler", "loss")
CACHES = ("auto", "ram", "none")
BEST_METRICS = ("accuracy", "loss", LAST)
BATCH_SIZE = 32
UNNORMALISED_LR_FACTOR = 0.1  # on the learning rates of networks without normalisation layers


def parse_split(flag: str, text: str) -> tuple[float, ...]:
    """Read ``80/20`` or ``75/15/10``: per cent of training, validation and test images."""
    try:
        parts = tuple(float(part) for part in text.split("/"))
    except ValueError:
        parts = ()
    if len(parts) not in (2, 3) or not all(0 < part < 100 for part in parts) or abs(sum(parts) - 100) > 1e-6:
        raise UsageError(
            f"{flag} {shown(text)}: write per cent of training, validation and test images that add up to 100, such as "
            "80/20 or 75/15/10."
        )
    return parts


def format_split(parts: tuple[float, ...]) -> str:
    """Return the text that ``parse_split`` reads."""
    return "/".join(f"{part:g}" for part in parts)


@dataclass(frozen=True, kw_only=True)
class TrainClassifierConfig(RunConfig, PreprocessingConfig, AugmentationConfig, FreezingConfig):
    """Settings of ``cvkit train-classifier``. ``resolved`` replaces None by the values of the recipe."""

    data: Annotated[
        str,
        Option(
            help="Folder with one folder per class, with or without split folders above them; a folder of IDX files; "
            "or a manifest CSV file with the columns image, label and split.",
            panel=DATA,
            metavar="DIR|FILE",
            access="read",
            changeable=True,
        ),
    ]
    split: Annotated[
        tuple[float, ...] | None,
        Option(
            help="Per cent of training, validation and test images, drawn at random within each class, for data "
            "without validation images.",
            panel=DATA,
            metavar="A/B[/C]",
            parse=parse_split,
            format=format_split,
            default_text="90/10",
        ),
    ] = None
    balance: Annotated[
        str,
        Option(
            help="Treatment of classes of unequal size: draw all classes equally often (sampler), or weight the loss "
            "by the inverse of their size (loss).",
            panel=DATA,
            choices=BALANCES,
        ),
    ] = "none"
    cache: Annotated[
        str,
        Option(
            help="Cache decoded images in memory: ram always, auto if they fit, none never.",
            panel=DATA,
            choices=CACHES,
            changeable=True,
        ),
    ] = "auto"
    strict: Strict = False
    limit: Annotated[
        int | None, Option(help="Use only N images of each split, drawn at random.", panel=DATA, minimum=1)
    ] = None
    max_pixels: MaxPixels = 178_000_000
    model: Annotated[
        str,
        Option(
            help="Network: one of cvkit (basic-cnn), of torchvision (mobilenet_v2) or of timm (timm:NAME).",
            panel=MODEL,
            metavar="NAME",
            complete="model",
        ),
    ]
    weights: Annotated[
        str | None,
        Option(
            help="Initial weights. The last layer always starts from random weights.",
            panel=MODEL,
            choices=("imagenet", "none"),
            other="FILE",
            access="read",
            default_text="imagenet; none for the networks of cvkit",
        ),
    ] = None
    recipe: Annotated[
        str,
        Option(
            help="Values for the options of training that are not given: standard; transfer (the last layer first, "
            "then the upper half of the network); modern (for small data sets).",
            panel=TRAINING,
            choices=tuple(RECIPES),
        ),
    ] = "standard"
    epochs: Annotated[
        int | None,
        Option(
            help="Number of passes over the training images.",
            panel=TRAINING,
            minimum=1,
            limit=MAX_EPOCHS,
            default_text=FROM_RECIPE,
            changeable=True,
        ),
    ] = None
    lr: Annotated[
        float | None,
        Option(help="Peak learning rate.", panel=TRAINING, above=0, default_text="from the recipe and the weights"),
    ] = None
    optimizer: Annotated[
        str | None, Option(help="Optimiser.", panel=TRAINING, choices=OPTIMIZERS, default_text=FROM_RECIPE)
    ] = None
    weight_decay: Annotated[
        float | None,
        Option(
            help="Weight decay; biases and normalisation layers have none.",
            panel=TRAINING,
            minimum=0,
            default_text=FROM_RECIPE,
        ),
    ] = None
    schedule: Annotated[
        str | None,
        Option(
            help="Learning rate schedule after the warm-up.",
            panel=TRAINING,
            choices=SCHEDULES,
            default_text=FROM_RECIPE,
        ),
    ] = None
    warmup_epochs: Annotated[
        float | None,
        Option(
            help="Epochs of linear learning rate warm-up.",
            panel=TRAINING,
            minimum=0,
            limit=MAX_EPOCHS,
            default_text=FROM_RECIPE,
        ),
    ] = None
    clip_norm: Annotated[
        float | None,
        Option(
            help="Largest norm of the gradients; 0 switches clipping off.",
            panel=TRAINING,
            minimum=0,
            default_text=FROM_RECIPE,
        ),
    ] = None
    ema: Annotated[
        float | None,
        Option(
            help="Decay of an exponential moving average of the weights; 0 switches it off.",
            panel=TRAINING,
            minimum=0,
            below=1,
            default_text=FROM_RECIPE,
        ),
    ] = None
    layer_decay: Annotated[
        float | None,
        Option(
            help="Factor on the learning rate from each block of the network to the one before it; 1 trains all at "
            "the same rate.",
            panel=TRAINING,
            above=0,
            maximum=1,
            default_text="from the recipe; 1 for random weights",
        ),
    ] = None
    label_smoothing: Annotated[
        float | None,
        Option(
            help="Probability that the loss distributes over all classes.",
            panel=TRAINING,
            minimum=0,
            below=1,
            default_text=FROM_RECIPE,
        ),
    ] = None
    best_metric: Annotated[
        str, Option(help="Validation score that selects best.pt.", panel=TRAINING, choices=BEST_METRICS)
    ] = "accuracy"
    samples: Annotated[
        int, Option(help="Number of validation images in the sample pictures.", panel=OUTPUT, minimum=0, limit=10_000)
    ] = 16
    test: Annotated[
        bool,
        Option(help="Score the test images once at the end, with the best weights.", panel=OUTPUT, changeable=True),
    ] = False
    out: Annotated[
        str | None,
        Option(
            help="Run folder to write.",
            panel=OUTPUT,
            metavar="DIR",
            default_text="runs/train-classifier/MODEL-N",
            changeable=True,
            access="write",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        freezes = (self.freeze or RECIPES[self.recipe].freeze) != "none"
        unfreezes = RECIPES[self.recipe].unfreeze_at if self.unfreeze_at is None else self.unfreeze_at
        if not freezes and (self.unfreeze_at or self.unfreeze_from):
            raise UsageError("--unfreeze-at and --unfreeze-from need frozen layers: add --freeze backbone.")
        for flag, value in (("--unfreeze-from", self.unfreeze_from), ("--unfreeze-lr", self.unfreeze_lr)):
            if value is not None and not (freezes and unfreezes):
                raise UsageError(f"{flag} needs the epoch: add --unfreeze-at EPOCH.")
        if self.weights == "imagenet" and self.model in CLASSIFIERS:
            raise UsageError(f"--weights imagenet: {self.model} has no published weights; use none or a file.")

    def resolved(self) -> Self:
        """Return the settings with the values of the recipe, the weights, the learning rate and the batch size."""
        recipe = RECIPES[self.recipe]
        weights = self.weights or ("none" if self.model in CLASSIFIERS else "imagenet")
        scratch = weights == "none"
        factor = UNNORMALISED_LR_FACTOR if self.model.partition(".")[0] in UNNORMALISED else 1.0
        own = {
            "weights": weights,
            "freeze": self.freeze or recipe.freeze,
            "unfreeze_at": 0 if self.freeze == "none" else None,
            "lr": self.lr or factor * (recipe.scratch_lr if scratch else recipe.fine_tuning_lr),
            "layer_decay": 1.0 if scratch else None,
            "batch_size": BATCH_SIZE,
        }
        names = {field.name for field in fields(Recipe)} & {field.name for field in fields(self)}
        defaults = {name: getattr(recipe, name) for name in names} | {k: v for k, v in own.items() if v is not None}
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})


def training_config(settings: TrainClassifierConfig) -> TrainingConfig:
    """Return the settings of the training loop of resolved settings."""
    names = [field.name for field in fields(TrainingConfig)]
    return TrainingConfig(**{name: getattr(settings, name) for name in names})
