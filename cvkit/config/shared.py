"""Options that the commands of several tasks share."""

from typing import Annotated

from cvkit.config.option import DATA, MODEL, OUTPUT, Option

COLORMAPS = ("turbo", "inferno", "viridis", "magma", "plasma", "jet", "hot", "gray")

TrainedModel = Annotated[
    str,
    Option(
        help="Model: a run folder, a checkpoint, an exported file, or a name (with --weights).",
        panel=MODEL,
        names=("--model", "--checkpoint"),
        metavar="REF",
        complete="saliency-model",
        access="read",
    ),
]
NamedWeights = Annotated[
    str | None,
    Option(
        help="Weights for a model that is given by its name; runs, checkpoints and exported files have their own.",
        panel=MODEL,
        choices=("none",),
        other="FILE",
        access="read",
        default_text="those of the model",
    ),
]
Labels = Annotated[
    str | None,
    Option(
        help="File with the class names: one per line, CSV or JSON.",
        panel=MODEL,
        metavar="FILE",
        default_text="from the weights",
        access="read",
        changeable=True,
    ),
]
ColorMap = Annotated[
    str, Option(help="Matplotlib colour map of the heat map.", panel=OUTPUT, choices=COLORMAPS, other="NAME")
]
Alpha = Annotated[
    float,
    Option(
        help="Opacity of the heat map where its values are high; it fades out where they are low.",
        panel=OUTPUT,
        minimum=0,
        maximum=1,
    ),
]
Strict = Annotated[
    bool, Option(help="Stop with an error if any file is unpaired or unreadable.", panel=DATA, changeable=True)
]
Limit = Annotated[int | None, Option(help="Use only the first N images of each split.", panel=DATA, minimum=1)]
