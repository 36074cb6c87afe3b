"""Score saliency maps against the ground truth of their images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cvkit.config import EvaluateConfig
from cvkit.tasks.saliency.data import baselines
from cvkit.tasks.saliency.data.fixations import Fixations, blur_counts, count_map, default_sigma
from cvkit.tasks.saliency.data.ground_truth import GroundTruth
from cvkit.tasks.saliency.data.layout import Example
from cvkit.tasks.saliency.metrics.protocols import Protocol, ScoreInputs

MapSource = Callable[["EvaluationSample"], np.ndarray]


@dataclass(frozen=True)
class EvaluationSample:
    """One image with its ground truth at the image's own size.

    Attributes:
        index: Position of the image among the scored images.
        example: Files of the image.
        size: (height, width) of the image in pixels.
        truth: Saliency map and fixation counts.
        points: All fixations, None if they are not known.
    """

    index: int
    example: Example
    size: tuple[int, int]
    truth: GroundTruth
    points: Fixations | None


@dataclass(frozen=True)
class Scorer:
    """Computes the scores of one image.

    Attributes:
        config: Settings of the command.
        protocol: The benchmark's metrics.
        columns: Columns of the protocol to compute.
        baseline: Map against which information gain is measured.
        negatives: Fixations of other images for shuffled AUC, None if there are none.
        device: Device to compute on.
    """

    config: EvaluateConfig
    protocol: Protocol
    columns: list[str]
    baseline: MapSource
    negatives: baselines.Negatives | None
    device: torch.device

    def _batch(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values))[None].to(self.device)

    def row(self, sample: EvaluationSample, values: np.ndarray) -> dict[str, Any]:
        """Return the scores of an (H, W) map by column, and the name of the image as ``image``."""
        return {"image": _name(sample.example), **self._scores(sample, values, sample.truth)}

    def observers(self, sample: EvaluationSample) -> dict[str, Any] | None:
        """Return the mean scores of the maps of two random halves of the subjects, each against the other half.

        Returns None if there are fewer than two subjects, or a half has no fixations on the image.
        """
        parts = (
            None if sample.points is None else baselines.split_subjects(sample.points, (self.config.seed, sample.index))
        )
        if parts is None:
            return None
        truths = [self._truth_of(part, sample) for part in parts]
        if not all(truth.map.any() for truth in truths):
            return None
        sigma = self._sigma(sample)
        maps = [baselines.observer_map(truth.counts, sigma) for truth in truths if truth.counts is not None]
        one, other = self._scores(sample, maps[0], truths[1]), self._scores(sample, maps[1], truths[0])
        return {"image": _name(sample.example), **{name: (one[name] + other[name]) / 2 for name in one}}

    def _truth_of(self, part: Fixations, sample: EvaluationSample) -> GroundTruth:
        counts = count_map(part, part.size or sample.size, sample.size)
        return GroundTruth(blur_counts(counts, self._sigma(sample)), counts)

    def _sigma(self, sample: EvaluationSample) -> float:
        return self.config.sigma_px or default_sigma(sample.size)

    def _scores(self, sample: EvaluationSample, values: np.ndarray, truth: GroundTruth) -> dict[str, float]:
        others = self.negatives.for_image(sample.index) if self.negatives and truth.counts is not None else None
        inputs = ScoreInputs(
            pred=self._batch(values),
            target=self._batch(truth.map),
            fixations=None if truth.counts is None else self._batch(truth.counts),
            others=None if others is None else self._batch(others),
            baseline=self._batch(self.baseline(sample)),
        )
        return {name: float(score[0]) for name, score in self.protocol.score(inputs, self.columns).items()}


def _name(example: Example) -> str:
    return example.key + example.image.suffix
