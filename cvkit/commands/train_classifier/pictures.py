"""Draw the learning curves and the sample predictions of a run."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvkit import render
from cvkit.config import TrainClassifierConfig
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.errors import WeightsError
from cvkit.files import write_atomic
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.kind import KIND
from cvkit.tasks.classification.scoring import sample_sheet


@dataclass(frozen=True)
class RunPictures:
    """The pictures of a run: learning curves, and samples with their predicted classes.

    Attributes:
        folder: The run folder.
        config: Settings of the run.
        classifier: The network in training.
        data: The validation images.
    """

    folder: RunFolder
    config: TrainClassifierConfig
    classifier: Classifier
    data: ClassImages

    def draw_epoch(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves, and the samples with the current weights, which may be the best ones so far."""
        title = f"{self.config.model} on {Path(self.config.data).name}"
        write_atomic(self.folder.path / "curves.png", render.curves(history, title=title, best_epoch=best_epoch))
        is_best = best_epoch is None or best_epoch == history[-1]["epoch"]
        self._draw_samples(int(history[-1]["epoch"]), "latest.png", *(["best.png"] if is_best else []))

    def draw_missing(self) -> None:
        """Draw the samples of ``best.pt`` if a run to resume has that file and lacks its picture.

        The network keeps the weights of ``best.pt``, so the training must load its own afterwards.
        """
        if not self.folder.best.is_file() or (self.folder.path / "samples" / "best.png").is_file():
            return
        with contextlib.suppress(WeightsError):  # the training loop reports a damaged best.pt
            load_best_weights(self.folder, KIND.checkpoint, self.classifier.network)
            self._draw_samples(None, "best.png")

    def _draw_samples(self, epoch: int | None, *names: str) -> None:
        if self.config.samples == 0:
            return
        title = "validation images" + ("" if epoch is None else f" after epoch {epoch}")
        content = sample_sheet(self.classifier, self.data, self.config.samples, title)
        for name in names:
            write_atomic(self.folder.path / "samples" / name, content)
