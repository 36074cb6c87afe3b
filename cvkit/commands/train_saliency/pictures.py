"""Draw the learning curves and the sample predictions of a run."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cvkit import render
from cvkit.config import TrainSaliencyConfig
from cvkit.data.images import read_image
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.checkpoints import load_best_weights
from cvkit.errors import WeightsError
from cvkit.files import write_atomic
from cvkit.tasks.saliency.data.dataset import SaliencyDataset
from cvkit.tasks.saliency.kind import KIND
from cvkit.tasks.saliency.predictor import SaliencyPredictor


@dataclass(frozen=True)
class RunPictures:
    """The pictures of a run: learning curves, and samples of input, target and prediction.

    Attributes:
        folder: The run folder.
        config: Settings of the run.
        predictor: The network in training.
        data: The validation images.
    """

    folder: RunFolder
    config: TrainSaliencyConfig
    predictor: SaliencyPredictor
    data: SaliencyDataset

    def draw_epoch(self, history: list[dict[str, Any]], best_epoch: int | None) -> None:
        """Draw the learning curves, and the samples with the current weights, which may be the best ones so far."""
        title = f"{self.config.model} on {Path(self.config.data).name}"
        write_atomic(self.folder.path / "curves.png", render.curves(history, title=title, best_epoch=best_epoch))
        is_best = best_epoch is None or best_epoch == history[-1]["epoch"]
        self._draw_samples("latest.png", *(["best.png"] if is_best else []))

    def draw_missing(self) -> None:
        """Draw the samples of ``best.pt`` if a run to resume has that file and lacks its picture.

        The network keeps the weights of ``best.pt``, so the training must load its own afterwards.
        """
        if not self.folder.best.is_file() or (self.folder.path / "samples" / "best.png").is_file():
            return
        with contextlib.suppress(WeightsError):  # the training loop reports a damaged best.pt
            load_best_weights(self.folder, KIND.checkpoint, self.predictor.model)
            self._draw_samples("best.png")

    def _draw_samples(self, *names: str) -> None:
        count = min(self.config.samples, len(self.data))
        if count == 0:
            return
        indices = [round(i * (len(self.data) - 1) / max(1, count - 1)) for i in range(count)]
        rows, captions = [], []
        samples = [self.data[(0, index)] for index in indices]
        images = torch.stack([sample["image"] for sample in samples])
        maps = self.predictor(images, [self.predictor.size] * len(images))
        for index, sample, predicted in zip(indices, samples, maps, strict=True):
            image = read_image(self.data.examples[index].image, self.config.max_pixels)
            target = sample["target"][0].numpy()
            rows.append([image, render.colourise(target), render.colourise(predicted.float().cpu().numpy())])
            captions.append(Path(self.data.name(index)).name)
        sheet = render.contact_sheet(rows, titles=["input", "human", "predicted"], captions=captions)
        content = render.encode_png(sheet)
        for name in names:
            write_atomic(self.folder.path / "samples" / name, content)
