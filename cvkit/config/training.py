"""Settings that the training commands share."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import ComputeConfig, Seed
from cvkit.config.option import COMPUTE, MAX_EPOCHS, OUTPUT, TRAINING, Option
from cvkit.config.save_interval import SaveInterval
from cvkit.errors import UsageError

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "constant")
LAST = "last"  # as --best-metric: the last epoch counts as the best, so that validation selects nothing


@dataclass(frozen=True, kw_only=True)
class RunConfig(ComputeConfig):
    """Settings of a training run that all training commands have with the same defaults."""

    step_epochs: Annotated[
        int, Option(help="Epochs between two steps of --schedule step.", panel=TRAINING, minimum=1)
    ] = 10
    step_factor: Annotated[
        float,
        Option(help="Factor of each learning rate step of --schedule step.", panel=TRAINING, minimum=0, below=1),
    ] = 0.1
    accumulate: Annotated[
        int, Option(help="Number of batches whose gradients are added up per step.", panel=TRAINING, minimum=1)
    ] = 1
    patience: Annotated[
        int,
        Option(
            help="Stop after this many epochs without improvement; 0 switches early stopping off.",
            panel=TRAINING,
            minimum=0,
        ),
    ] = 0
    best_metric: Annotated[str, Option(help="Validation score that selects the best epoch.", panel=TRAINING)] = "loss"
    compile: Annotated[bool, Option(help="Compile the network with torch.compile.", panel=COMPUTE, changeable=True)] = (
        False
    )
    deterministic: Annotated[
        bool, Option(help="On a GPU, use only algorithms that repeat bit for bit.", panel=COMPUTE)
    ] = False
    seed: Seed = 0
    save_every: Annotated[
        str,
        Option(
            help="Longest interval between two checkpoints within an epoch, in minutes or optimiser steps.",
            panel=TRAINING,
            metavar="Nmin|Nsteps",
            changeable=True,
        ),
    ] = "10min"
    resume: Annotated[
        bool,
        Option(
            help="Continue the run in --out from its last checkpoint, or start it if nothing was saved yet.",
            panel=TRAINING,
            changeable=True,
        ),
    ] = False
    out: Annotated[
        str | None,
        Option(help="Run folder to write.", panel=OUTPUT, metavar="DIR", changeable=True, access="write"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        SaveInterval.parse("--save-every", self.save_every)
        if self.patience and self.best_metric == LAST:
            raise UsageError("--patience needs a score to compare: use --best-metric loss instead of last.")
        if self.resume and self.out is None:
            raise UsageError("--resume needs --out RUN, the folder of the run to continue.")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(RunConfig):
    """Settings of the training loop (``engine.training.fit``)."""

    epochs: Annotated[
        int,
        Option(
            help="Number of passes over the training images.",
            panel=TRAINING,
            minimum=1,
            limit=MAX_EPOCHS,
            changeable=True,
        ),
    ] = 20
    lr: Annotated[
        float | None,
        Option(help="Peak learning rate.", panel=TRAINING, above=0, default_text="from the model and its weights"),
    ] = None
    optimizer: Annotated[str, Option(help="Optimiser.", panel=TRAINING, choices=OPTIMIZERS)] = "adamw"
    weight_decay: Annotated[
        float, Option(help="Weight decay; biases and normalisation layers have none.", panel=TRAINING, minimum=0)
    ] = 1e-4
    schedule: Annotated[
        str, Option(help="Learning rate schedule after the warm-up.", panel=TRAINING, choices=SCHEDULES)
    ] = "cosine"
    warmup_epochs: Annotated[
        float, Option(help="Epochs of linear learning rate warm-up.", panel=TRAINING, minimum=0, limit=MAX_EPOCHS)
    ] = 0.5
    clip_norm: Annotated[
        float, Option(help="Largest norm of the gradients; 0 switches clipping off.", panel=TRAINING, minimum=0)
    ] = 1.0
    ema: Annotated[
        float,
        Option(
            help="Decay of an exponential moving average of the weights; 0 switches it off.",
            panel=TRAINING,
            minimum=0,
            below=1,
        ),
    ] = 0.0
