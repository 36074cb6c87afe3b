"""Settings of ``cvkit merge``."""

from dataclasses import dataclass
from typing import Annotated

from cvkit.config.base import Config
from cvkit.config.option import INPUTS, OUTPUT, Option
from cvkit.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Config):
    """Settings of ``cvkit merge``."""

    folders: Annotated[
        tuple[str, ...],
        Option(
            help="Result folders of predict, classify or gradcam to join.",
            panel=INPUTS,
            metavar="DIR",
            argument=True,
            repeat=True,
            access="read",
        ),
    ]
    out: Annotated[
        str,
        Option(
            help="Result folder to write; if it holds results of the same settings, they are kept.",
            panel=OUTPUT,
            metavar="DIR",
            access="write",
        ),
    ]
    link: Annotated[
        bool,
        Option(help="Create hard links in place of copies, where the file system allows them.", panel=OUTPUT),
    ] = False
    allow_missing: Annotated[
        bool,
        Option(help="Merge although inputs of the parts are missing, and name them in a warning.", panel=INPUTS),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folders:
            raise UsageError("missing argument DIR: name the result folders to merge.")
