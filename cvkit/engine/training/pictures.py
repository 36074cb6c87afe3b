"""Draw the learning curves and the sample predictions of a run, for every task."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from torch import nn

from cvkit import render
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.errors import WeightsError
from cvkit.files import write_atomic

CURVES_INTERVAL = 9  # shortest time between two drawings of the curves, as a multiple of the time that a drawing takes


class RunPictures:
    """The pictures of a run: learning curves, and a sheet of sample predictions.

    Args:
        folder: The run folder.
        title: Heading of the learning curves.
        network: The network in training.
        kind: Kind of the checkpoint ``best.pt``.
        draw_samples: Returns a PNG of sample predictions with the current weights; None draws no samples.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        title: str,
        network: nn.Module,
        kind: str,
        draw_samples: Callable[[], bytes] | None,
    ) -> None:
        self.folder, self.title, self.network, self.kind = folder, title, network, kind
        self._draw_samples = draw_samples
        self._next_curves = 0.0  # the time from which curves are drawn again
        self._delayed: tuple[list[dict[str, Any]], int | None] | None = None

    def draw_epoch(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves, and the samples with the current weights, which may be the best ones so far.

        The curves take about 0.6 s. They are drawn in a tenth of the time at most, because an epoch may take
        milliseconds; ``finish`` draws those that are left.

        Args:
            history: One row per epoch.
            best_epoch: Number of the best epoch; None if every epoch is the best one so far.
        """
        self._delayed = (history, best_epoch)
        if time.monotonic() >= self._next_curves:
            self.finish()
        is_best = best_epoch is None or best_epoch == history[-1]["epoch"]
        self._write_samples("latest.png", *(["best.png"] if is_best else []))

    def finish(self) -> None:
        """Draw the learning curves if those of the last epoch were not drawn."""
        if self._delayed is None:
            return
        began = time.monotonic()
        history, best_epoch = self._delayed
        write_atomic(self.folder.path / "curves.png", render.curves(history, title=self.title, best_epoch=best_epoch))
        ended = time.monotonic()
        self._next_curves = ended + CURVES_INTERVAL * (ended - began)
        self._delayed = None

    def draw_missing(self) -> None:
        """Draw the samples of ``best.pt`` if a run to resume has that file and lacks its picture.

        The network keeps the weights of ``best.pt``, so the training must load its own afterwards.
        """
        if not self.folder.best.is_file() or (self.folder.path / "samples" / "best.png").is_file():
            return
        with contextlib.suppress(WeightsError):  # the training loop reports a damaged best.pt
            load_best_weights(self.folder, self.kind, self.network)
            self._write_samples("best.png")

    def _write_samples(self, *names: str) -> None:
        if self._draw_samples is None:
            return
        content = self._draw_samples()
        for name in names:
            write_atomic(self.folder.path / "samples" / name, content)
