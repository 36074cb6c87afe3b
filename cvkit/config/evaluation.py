"""Settings of the command that scores saliency maps, saliency networks and classifiers."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any

from cvkit.config.base import (
    BATCH_SIZE,
    MAX_WORKERS,
    PRECISIONS,
    Compile,
    MaxPixels,
    Overwrite,
    RuntimeConfig,
    Seed,
)
from cvkit.config.option import COMPUTE, DATA, INPUTS, OUTPUT, SCORING, Option, fields_of
from cvkit.config.preprocessing import PreprocessingConfig
from cvkit.config.saliency import SigmaPx
from cvkit.config.shared import Labels, NamedWeights
from cvkit.errors import UsageError

PROTOCOLS = ("mit", "tuebingen")
SPLITS = ("train", "val", "test", "all")
# Options that have no effect on the scores of a classifier, and those that have none on the scores of saliency maps.
SALIENCY_FIELDS = frozenset(
    {"maps", "protocol", "baseline", "with_baselines", "shuffled_images", "sigma_px", "emd", "seed"}
)
CLASSIFIER_FIELDS = frozenset({"labels", "batch_size", *fields_of(PreprocessingConfig)})


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(PreprocessingConfig, RuntimeConfig):
    """Settings of ``cvkit evaluate``. ``split`` None scores val, else test, else the only split besides train."""

    data: Annotated[
        str,
        Option(
            help="Data set folder, or a manifest CSV file: images with maps or fixations for saliency; for a "
            "classifier class folders with or without split folders, IDX files, or the columns image, label and split.",
            panel=DATA,
            metavar="DIR|FILE",
            access="read",
        ),
    ]
    maps: Annotated[
        str | None,
        Option(
            help="Folder of maps to score, matched to the images by stem.", panel=INPUTS, metavar="DIR", access="read"
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            help="Saliency network or classifier to score: a run folder, a checkpoint, an exported file, or a name of "
            "torchvision (vgg16), of timm (timm:NAME) or of cvkit (basic-cnn, mlnet; with --weights).",
            panel=INPUTS,
            names=("--model", "--checkpoint"),
            metavar="REF",
            complete="model",
            access="read",
        ),
    ] = None
    weights: NamedWeights = None
    labels: Labels = None
    compile: Compile = False
    protocol: Annotated[
        str,
        Option(
            help="Conventions of saliency scores: the MIT saliency benchmark's or pysaliency's (Tübingen).",
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
            help="Folder for the scores: scores.csv and summary.json of saliency maps; metrics.json, tables and "
            "pictures of a classifier.",
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
    precision: Annotated[
        str,
        Option(
            help="Number format of the computation; auto is fp32 for a classifier, and for a saliency network bf16 on "
            "a GPU that supports it, else fp32.",
            panel=COMPUTE,
            choices=PRECISIONS,
        ),
    ] = "auto"
    batch_size: Annotated[
        int | None,
        replace(
            BATCH_SIZE,
            help="Images per batch of a classifier; auto is 32 on a GPU, else 4. Batches that do not fit into memory "
            "are halved.",
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
        if self.maps is not None:
            self.reject(CLASSIFIER_FIELDS, "--maps names saliency maps")

    def reject(self, names: Collection[str], reason: str) -> None:
        """Refuse options that have no effect on what is scored.

        Args:
            names: Fields of these options. A field that has its default value is not given.
            reason: Why they have no effect, for the message.

        Raises:
            UsageError: If any of them is given.
        """
        fields = [field for name, field in fields_of(type(self)).items() if name in names]
        given = [
            f"--no-{field.flag.removeprefix('--')}" if getattr(self, field.name) is False else field.flag
            for field in fields
            if getattr(self, field.name) != field.default
        ]
        if given:
            verb = "have" if len(given) > 1 else "has"
            listed = ", ".join(given)
            raise UsageError(f"{listed} {verb} no effect, because {reason}: leave out {listed}.")

    def settings_without(self, names: Collection[str]) -> dict[str, Any]:
        """Return the settings as plain values without some fields, to record them with the scores."""
        return {name: value for name, value in self.as_dict().items() if name not in names}
