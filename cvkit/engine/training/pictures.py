"""Draw the learning curves and the sample predictions of a run, for every task."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from cvkit import render
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.errors import WeightsError
from cvkit.files import write_atomic


@dataclass(frozen=True, kw_only=True)
class RunPictures:
    """The pictures of a run: learning curves, and a sheet of sample predictions.

    Attributes:
        folder: The run folder.
        title: Heading of the learning curves.
        network: The network in training.
        kind: Kind of the checkpoint ``best.pt``.
        draw_samples: Returns a PNG of sample predictions with the current weights; None draws no samples.
    """

    folder: RunFolder
    title: str
    network: nn.Module
    kind: str
    draw_samples: Callable[[], bytes] | None

    def draw_epoch(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves, and the samples with the current weights, which may be the best ones so far.

        Args:
            history: One row per epoch.
            best_epoch: Number of the best epoch; None if every epoch is the best one so far.
        """
        write_atomic(self.folder.path / "curves.png", render.curves(history, title=self.title, best_epoch=best_epoch))
        is_best = best_epoch is None or best_epoch == history[-1]["epoch"]
        self._write_samples("latest.png", *(["best.png"] if is_best else []))

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
        if self.draw_samples is None:
            return
        content = self.draw_samples()
        for name in names:
            write_atomic(self.folder.path / "samples" / name, content)
