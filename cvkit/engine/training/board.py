"""Write TensorBoard events if ``tensorboard`` is installed."""

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Board:
    """A writer of a run's history as TensorBoard scalars; it does nothing if ``tensorboard`` is not installed."""

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._writer: Any = None
        if enabled and importlib.util.find_spec("tensorboard") is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from torch.utils.tensorboard.writer import SummaryWriter

                self._writer = SummaryWriter(str(folder))

    def add(self, row: Mapping[str, Any]) -> None:
        """Write the row of one epoch."""
        if self._writer is None:
            return
        for name, value in row.items():
            if isinstance(value, (int, float)) and name not in ("epoch", "step"):
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
