"""Draw the learning curves and the sample predictions of a run."""

import contextlib
import time
from pathlib import Path
from typing import Any

from cvkit import render
from cvkit.config import TrainClassifierConfig
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.engine.training.learner import Data
from cvkit.errors import WeightsError
from cvkit.files import write_atomic
from cvkit.tasks.classification.data.dataset import ClassImages
from cvkit.tasks.classification.kind import KIND
from cvkit.tasks.classification.learner import ClassifierLearner
from cvkit.tasks.classification.scoring import sample_indices, sample_sheet

CURVES_INTERVAL = 9  # shortest time between two drawings of the curves, as a multiple of the time that a drawing takes


class RunPictures:
    """The pictures of a run: learning curves, and samples with their predicted classes.

    Args:
        folder: The run folder.
        config: Settings of the run.
        learner: The network in training, with the names of its classes.
        images: The validation images.
        val: The same images as the learner takes them: images, or features of frozen layers.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: TrainClassifierConfig,
        learner: ClassifierLearner,
        images: ClassImages,
        val: Data,
    ) -> None:
        self.folder, self.config, self.learner, self.images, self.val = folder, config, learner, images, val
        self._next_curves = 0.0  # the time from which curves are drawn again
        self._delayed: tuple[list[dict[str, Any]], int | None] | None = None

    def draw_epoch(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves, and the samples with the current weights, which may be the best ones so far.

        The curves take about 0.6 s. They are drawn in a tenth of the time at most, because an epoch on features takes
        milliseconds; ``finish`` draws those that are left.
        """
        self._delayed = (history, best_epoch)
        if time.monotonic() >= self._next_curves:
            self.finish()
        is_best = best_epoch is None or best_epoch == history[-1]["epoch"]
        self._draw_samples(int(history[-1]["epoch"]), "latest.png", *(["best.png"] if is_best else []))

    def finish(self) -> None:
        """Draw the learning curves if those of the last epoch were not drawn."""
        if self._delayed is None:
            return
        began = time.monotonic()
        history, best_epoch = self._delayed
        title = f"{self.config.model} on {Path(self.config.data).name}"
        write_atomic(self.folder.path / "curves.png", render.curves(history, title=title, best_epoch=best_epoch))
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
            load_best_weights(self.folder, KIND.checkpoint, self.learner.model)
            self._draw_samples(None, "best.png")

    def _draw_samples(self, epoch: int | None, *names: str) -> None:
        if self.config.samples == 0:
            return
        title = "validation images" + ("" if epoch is None else f" after epoch {epoch}")
        indices = sample_indices(len(self.images), self.config.samples)
        probabilities = self.learner.predict(self.val.batch(0, indices)).softmax(1).cpu()
        content = sample_sheet(self.images, indices, probabilities, self.learner.classifier.facts.labels, title)
        for name in names:
            write_atomic(self.folder.path / "samples" / name, content)
