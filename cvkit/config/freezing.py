"""Options for the layers of a pretrained network that are kept fixed."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.augmentation import FROM_RECIPE
from cvkit.config.base import Config
from cvkit.config.option import MAX_EPOCHS, MODEL, TRAINING, Option


@dataclass(frozen=True, kw_only=True)
class FreezingConfig(Config):
    """Layers that are kept fixed, for the whole run or at its start; None takes the value of the recipe."""

    freeze: Annotated[
        str | None,
        Option(
            help="Layers to keep fixed: none, backbone (all but the last layer), or all up to the named layer.",
            panel=MODEL,
            choices=("none", "backbone"),
            other="LAYER",
            default_text=FROM_RECIPE,
        ),
    ] = None
    unfreeze_at: Annotated[
        int | None,
        Option(
            help="Number of epochs after which frozen layers are trained too; 0 keeps them frozen.",
            panel=MODEL,
            minimum=0,
            limit=MAX_EPOCHS,
            default_text=FROM_RECIPE,
        ),
    ] = None
    unfreeze_from: Annotated[
        str | None,
        Option(
            help="First frozen layer that --unfreeze-at trains; all trains every layer.",
            panel=MODEL,
            choices=("all",),
            other="LAYER",
            default_text="the middle of the network",
        ),
    ] = None
    unfreeze_lr: Annotated[
        float | None,
        Option(
            help="Learning rate of all layers after --unfreeze-at.",
            panel=TRAINING,
            above=0,
            default_text="from the recipe, else a tenth of --lr",
        ),
    ] = None
    norm_stats: Annotated[
        str | None,
        Option(
            help="Statistics of batch norms in layers that are trained: fixed keeps those of the weights.",
            panel=MODEL,
            choices=("fixed", "update"),
            default_text="update, or fixed if the weights have none",
        ),
    ] = None
