"""Options for the augmentation of training images of a classifier."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import Config
from cvkit.config.option import DATA, Option

AUTO_AUGMENTS = ("none", "trivial", "rand", "augmix")
FROM_RECIPE = "from the recipe"


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Config):
    """Augmentation of training images; None takes the value of the recipe."""

    flip: Annotated[
        bool | None, Option(help="Mirror half of the training images.", panel=DATA, default_text=FROM_RECIPE)
    ] = None
    crop_scale: Annotated[
        float | None,
        Option(
            help="Smallest area of a random crop as a fraction of the training image; 1 takes the crop of inference.",
            panel=DATA,
            above=0,
            maximum=1,
            default_text=FROM_RECIPE,
        ),
    ] = None
    rotation: Annotated[
        float | None,
        Option(
            help="Largest random rotation of training images as a fraction of a full turn.",
            panel=DATA,
            minimum=0,
            maximum=0.5,
            default_text=FROM_RECIPE,
        ),
    ] = None
    contrast: Annotated[
        float | None,
        Option(
            help="Largest random change of the contrast of training images, as a fraction.",
            panel=DATA,
            minimum=0,
            maximum=1,
            default_text=FROM_RECIPE,
        ),
    ] = None
    auto_augment: Annotated[
        str | None,
        Option(
            help="Random augmentation: TrivialAugment, RandAugment or AugMix.",
            panel=DATA,
            choices=AUTO_AUGMENTS,
            default_text=FROM_RECIPE,
        ),
    ] = None
    erase: Annotated[
        float | None,
        Option(
            help="Probability of erasing a random rectangle of a training image.",
            panel=DATA,
            minimum=0,
            maximum=1,
            default_text=FROM_RECIPE,
        ),
    ] = None
    mixup: Annotated[
        float | None,
        Option(
            help="Parameter alpha of mixup; 0 switches it off. With --cutmix each batch takes one of them at random.",
            panel=DATA,
            minimum=0,
            limit=100,
            default_text=FROM_RECIPE,
        ),
    ] = None
    cutmix: Annotated[
        float | None,
        Option(
            help="Parameter alpha of cutmix; 0 switches it off. With --mixup each batch takes one of them at random.",
            panel=DATA,
            minimum=0,
            limit=100,
            default_text=FROM_RECIPE,
        ),
    ] = None
