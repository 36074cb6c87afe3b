"""Settings of ``cvkit demo``."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import DEVICES, Config, check_device
from cvkit.config.option import COMPUTE, MAX_EPOCHS, OUTPUT, TRAINING, Option


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """Settings of ``cvkit demo``."""

    out: Annotated[str, Option(help="Folder to write.", panel=OUTPUT, metavar="DIR", access="write")] = "demo"
    epochs: Annotated[int, Option(help="Number of training epochs.", panel=TRAINING, minimum=1, limit=MAX_EPOCHS)] = 16
    device: Annotated[
        str,
        Option(
            help="Device to compute on; auto takes CUDA, else Apple's GPU, else the processor.",
            panel=COMPUTE,
            choices=DEVICES,
            other="cuda:N",
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_device(self.device)
