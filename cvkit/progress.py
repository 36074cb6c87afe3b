"""Progress events that long-running functions report, without any drawing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """The beginning of a stage of work.

    Attributes:
        title: Name of the stage.
        total: Number of units in the stage, None if unknown.
        unit: Plural name of the units, such as "images".
        done: Number of units that were done before.
    """

    title: str
    total: int | None = None
    unit: str = "images"
    done: int = 0


@dataclass(frozen=True)
class Step:
    """The progress of the current stage.

    Attributes:
        done: Number of units that are done.
        figures: Values to show beside the progress, such as the loss.
    """

    done: int
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageEnd:
    """The end of the current stage."""


@dataclass(frozen=True)
class Note:
    """A sentence for the user; ``level`` is info, important (bold) or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Facts:
    """The settings of a piece of work, to print once as a block before it starts.

    Attributes:
        title: Heading of the block.
        rows: Labels with their values.
    """

    title: str
    rows: tuple[tuple[str, str], ...]


Event = Stage | Step | StageEnd | Note | Facts
Reporter = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Discard an event."""
    del event
