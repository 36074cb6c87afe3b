"""What the machinery tells while it works: events, no drawing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A stretch of work begins: its title, how many units it has (None: unknown), and what a unit is."""

    title: str
    total: int | None = None
    unit: str = "images"
    done: int = 0


@dataclass(frozen=True)
class Step:
    """So many units of the stage are done; ``shown`` are figures worth a glance (a loss, what is slow)."""

    done: int
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageEnd:
    """The stage is over."""


@dataclass(frozen=True)
class Note:
    """A sentence for the person who watches; ``level`` is info or warning."""

    text: str
    level: str = "info"


Event = Stage | Step | StageEnd | Note
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
    del event
