"""Settings of the command that trains saliency networks."""

from dataclasses import dataclass, replace
from typing import Annotated, Self

from cvkit.catalog import SALIENCY_MODELS
from cvkit.config.base import MaxPixels
from cvkit.config.option import DATA, MAX_EPOCHS, MAX_SIDE, MODEL, OUTPUT, TRAINING, Option
from cvkit.config.saliency import SigmaPx
from cvkit.config.shared import Limit, Strict
from cvkit.config.training import TrainingConfig
from cvkit.config.values import format_size, is_whole_number, parse_size, shown
from cvkit.errors import UsageError

LOSSES = ("auto", "mlnet", "bce", "kl", "kl-cc", "kl-cc-nss")
AUGMENTATIONS = ("none", "flip", "full")
CACHES = ("auto", "ram", "none")
BEST_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "loss")
BATCH_SIZE = 8
FINE_TUNING_LR = 1e-3
SCRATCH_LR = 1e-4
MLNET_LOSS_LR_FACTOR = 0.3  # at a higher rate, the loss's weights on bright pixels drive the ReLU map to zero


def parse_freeze(flag: str, text: str) -> str | int:
    """Read ``none``, ``backbone`` or a number of epochs."""
    if text in ("none", "backbone"):
        return text
    if is_whole_number(text):
        return int(text)
    raise UsageError(f"{flag} {shown(text)}: write none, backbone, or a number of epochs.")


@dataclass(frozen=True, kw_only=True)
class TrainSaliencyConfig(TrainingConfig):
    """Settings of ``cvkit train-saliency``. ``resolved`` replaces None by the network's own values."""

    data: Annotated[
        str,
        Option(
            help="Data set folder, or a manifest CSV file.",
            panel=DATA,
            metavar="DIR|FILE",
            access="read",
            changeable=True,
        ),
    ]
    model: Annotated[str, Option(help="Saliency network to train.", panel=MODEL, choices=tuple(SALIENCY_MODELS))] = (
        "mlnet"
    )
    backbone: Annotated[
        str,
        Option(
            help="Backbone of mlnet and mlnet-paper: vgg16, another torchvision network, or timm:NAME.",
            panel=MODEL,
            metavar="NAME",
            complete="backbone",
        ),
    ] = "vgg16"
    weights: Annotated[
        str,
        Option(
            help="Initial weights of the backbone.",
            panel=MODEL,
            choices=("imagenet", "none"),
            other="FILE",
            access="read",
        ),
    ] = "imagenet"
    size: Annotated[
        tuple[int, int] | None,
        Option(
            help="Size of the network's input in pixels.",
            panel=MODEL,
            metavar="HxW",
            minimum=1,
            limit=MAX_SIDE,
            parse=parse_size,
            format=format_size,
            default_text="from the model",
        ),
    ] = None
    loss: Annotated[
        str, Option(help="Loss function; auto is the default loss of the model.", panel=TRAINING, choices=LOSSES)
    ] = "auto"
    alpha: Annotated[
        float | None,
        Option(
            help="Parameter alpha of --loss mlnet, whose weights are 1 / (alpha - y).",
            panel=TRAINING,
            above=1,
            default_text="from the model",
        ),
    ] = None
    dropout: Annotated[
        float | None,
        Option(help="Dropout probability.", panel=MODEL, minimum=0, below=1, default_text="from the model"),
    ] = None
    prior: Annotated[
        bool | None,
        Option(help="Multiply the map by a learned prior.", panel=MODEL, default_text="from the model"),
    ] = None
    zero_bias: Annotated[
        bool | None,
        Option(
            help="Set the biases of the pretrained backbone to zero before training.",
            panel=MODEL,
            off="--keep-bias",
            default_text="on for mlnet on vgg16",
        ),
    ] = None
    freeze: Annotated[
        str | int,
        Option(
            help="Keep the backbone's weights fixed: never, for the whole run, or for the first N epochs.",
            panel=MODEL,
            choices=("none", "backbone"),
            other="N",
            minimum=0,
            limit=MAX_EPOCHS,
            parse=parse_freeze,
        ),
    ] = "none"
    backbone_lr: Annotated[
        float,
        Option(help="Learning rate of a pretrained backbone as a fraction of --lr.", panel=TRAINING, minimum=0),
    ] = 0.1
    augment: Annotated[
        str,
        Option(
            help="Augmentation: flip mirrors images, full also crops them and changes their colours.",
            panel=DATA,
            choices=AUGMENTATIONS,
        ),
    ] = "flip"
    train_split: Annotated[
        str | None,
        Option(
            help="Split to train on.", panel=DATA, metavar="NAME", default_text="train, else the images without a split"
        ),
    ] = None
    val_split: Annotated[
        str | None,
        Option(
            help="Split to validate on.",
            panel=DATA,
            metavar="NAME",
            default_text="val, else a part of the training images",
        ),
    ] = None
    val_fraction: Annotated[
        float,
        Option(
            help="Fraction held out of the training images if there is no split to validate on.",
            panel=DATA,
            above=0,
            below=1,
        ),
    ] = 0.1
    sigma_px: SigmaPx = None
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
    limit: Limit = None
    samples: Annotated[
        int, Option(help="Number of validation images in the sample pictures.", panel=OUTPUT, minimum=0, limit=10_000)
    ] = 8
    max_pixels: MaxPixels = 178_000_000
    best_metric: Annotated[
        str, Option(help="Validation score that selects best.pt.", panel=TRAINING, choices=BEST_METRICS)
    ] = "cc"
    out: Annotated[
        str | None,
        Option(
            help="Run folder to write.",
            panel=OUTPUT,
            metavar="DIR",
            default_text="runs/train-saliency/MODEL-N",
            changeable=True,
            access="write",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        facts = SALIENCY_MODELS[self.model]
        if self.backbone != "vgg16" and not facts.takes_backbone:
            raise UsageError(f"--backbone is for mlnet and mlnet-paper; {self.model} always uses vgg16.")
        if self.prior and not facts.takes_backbone:
            raise UsageError(f"--prior is for mlnet and mlnet-paper; {self.model} has no learned prior.")
        if self.size is not None and min(self.size) < facts.min_size:
            raise UsageError(
                f"--size {format_size(self.size)} is too small: {self.model} needs {facts.min_size} pixels per side."
            )

    def resolved(self) -> Self:
        """Return the settings with the network's input size, loss, alpha, dropout, prior, rate and batch size."""
        facts = SALIENCY_MODELS[self.model]
        loss = facts.loss if self.loss == "auto" else self.loss
        lr = SCRATCH_LR if self.weights == "none" else FINE_TUNING_LR
        return replace(
            self,
            size=self.size or facts.size,
            loss=loss,
            alpha=facts.alpha if self.alpha is None else self.alpha,
            dropout=facts.dropout if self.dropout is None else self.dropout,
            prior=facts.prior if self.prior is None else self.prior,
            lr=self.lr or lr * (MLNET_LOSS_LR_FACTOR if loss == "mlnet" else 1),
            batch_size=self.batch_size or BATCH_SIZE,
        )
