"""Settings of ``cvkit resume``."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from cvkit.config.base import DEVICES, MAX_DEVICES, MAX_NODES, MAX_WORKERS, Config, check_device
from cvkit.config.option import COMPUTE, DATA, MAX_EPOCHS, TRAINING, Option
from cvkit.config.save_interval import SaveInterval


@dataclass(frozen=True, kw_only=True)
class ResumeConfig(Config):
    """Settings of ``cvkit resume``: the run, and the settings that may change. None keeps the run's own value."""

    run: Annotated[str, Option(help="Run folder to continue.", panel=DATA, metavar="DIR", argument=True, access="read")]
    data: Annotated[
        str | None,
        Option(
            help="Path of the data, if it has moved.",
            panel=DATA,
            metavar="DIR",
            default_text="the path of the run",
            access="read",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Option(
            help="Number of passes over the training images in all.",
            panel=TRAINING,
            minimum=1,
            limit=MAX_EPOCHS,
            default_text="as before",
        ),
    ] = None
    device: Annotated[
        str | None,
        Option(help="Device to compute on.", panel=COMPUTE, choices=DEVICES, other="cuda:N", default_text="as before"),
    ] = None
    devices: Annotated[
        int | None,
        Option(
            help="Number of processes on this node.",
            panel=COMPUTE,
            minimum=1,
            limit=MAX_DEVICES,
            default_text="as before",
        ),
    ] = None
    nodes: Annotated[
        int | None,
        Option(help="Number of nodes of the job.", panel=COMPUTE, minimum=1, limit=MAX_NODES, default_text="as before"),
    ] = None
    workers: Annotated[
        int | None,
        Option(
            help="Number of workers that load images.",
            panel=COMPUTE,
            minimum=0,
            limit=MAX_WORKERS,
            default_text="as before",
        ),
    ] = None

    save_every: Annotated[
        str | None,
        Option(
            help="Longest interval between two checkpoints within an epoch, in minutes or optimiser steps.",
            panel=TRAINING,
            metavar="Nmin|Nsteps",
            default_text="as before",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.save_every is not None:
            SaveInterval.parse("--save-every", self.save_every)
        if self.device is not None:
            check_device(self.device)

    def changes(self) -> dict[str, Any]:
        """Return the settings that replace the run's own."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "run"}
        return {name: value for name, value in values.items() if value is not None}
