"""Read the interval between two checkpoints: a number of minutes or of steps."""

import re
from dataclasses import dataclass
from typing import Self

from cvkit.errors import UsageError

_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)min|(\d{1,9})steps?", re.ASCII)


@dataclass(frozen=True)
class SaveInterval:
    """The longest interval between two checkpoints within an epoch.

    Attributes:
        seconds: Time in seconds; 0 if steps count.
        steps: Number of optimiser steps; 0 if the time counts.
    """

    seconds: float
    steps: int

    @classmethod
    def parse(cls, flag: str, text: str) -> Self:
        """Read ``10min``, ``0.5min`` or ``500steps``.

        Args:
            flag: Name of the option, for messages.
            text: Its value.

        Raises:
            UsageError: If the text has another form, or the number is 0.
        """
        match = _FORM.fullmatch(text)
        interval = cls(60 * float(match[1] or 0), int(match[2] or 0)) if match else None
        if interval is None or not (interval.seconds or interval.steps):
            raise UsageError(f"{flag} {text!r}: write minutes or optimiser steps, for example 10min or 500steps.")
        return interval

    def is_over(self, seconds: float, steps: int) -> bool:
        """Return whether it is time to save, given the seconds and steps since the last checkpoint."""
        return steps >= self.steps if self.steps else seconds > self.seconds
