"""Score saliency maps against the fixations and maps of one image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cvkit.config import EvaluateConfig
from cvkit.tasks.saliency.data import baselines
from cvkit.tasks.saliency.data import fixations as fix
from cvkit.tasks.saliency.data.ground_truth import GroundTruth
from cvkit.tasks.saliency.data.layout import Example
from cvkit.tasks.saliency.metrics.protocols import Protocol, ScoreInputs

Source = Callable[["_Scene"], np.ndarray]


@dataclass(frozen=True)
class _Scene:
    """One image and where people looked in it, at the image's own size."""

    index: int
    example: Example
    size: tuple[int, int]
    truth: GroundTruth
    points: fix.Fixations | None


@dataclass(frozen=True)
class _Scorer:
    config: EvaluateConfig
    protocol: Protocol
    columns: list[str]
    baseline: Source
    negatives: baselines.Negatives | None
    device: torch.device

    def _batch(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values))[None].to(self.device)

    def row(self, scene: _Scene, values: np.ndarray) -> dict[str, Any]:
        """Return the scores of one map, its name under ``image``."""
        return {"image": _name(scene.example), **self._scores(scene, values, scene.truth)}

    def observers(self, scene: _Scene) -> dict[str, Any] | None:
        """Score the map of a random half of the subjects against the other half, both ways, and take the mean."""
        parts = None if scene.points is None else baselines.halves(scene.points, (self.config.seed, scene.index))
        if parts is None:
            return None
        truths = [self._truth_of(part, scene) for part in parts]
        if not all(truth.map.any() for truth in truths):
            return None
        sigma = self._sigma(scene)
        maps = [baselines.observer_map(truth.counts, sigma) for truth in truths if truth.counts is not None]
        one, other = self._scores(scene, maps[0], truths[1]), self._scores(scene, maps[1], truths[0])
        return {"image": _name(scene.example), **{name: (one[name] + other[name]) / 2 for name in one}}

    def _truth_of(self, part: fix.Fixations, scene: _Scene) -> GroundTruth:
        counts = fix.count_map(part, part.size or scene.size, scene.size)
        return GroundTruth(fix.blur(counts, self._sigma(scene)), counts)

    def _sigma(self, scene: _Scene) -> float:
        return self.config.sigma_px or fix.default_sigma(scene.size)

    def _scores(self, scene: _Scene, values: np.ndarray, truth: GroundTruth) -> dict[str, float]:
        others = self.negatives.for_image(scene.index) if self.negatives and truth.counts is not None else None
        inputs = ScoreInputs(
            pred=self._batch(values),
            target=self._batch(truth.map),
            fixations=None if truth.counts is None else self._batch(truth.counts),
            others=None if others is None else self._batch(others),
            baseline=self._batch(self.baseline(scene)),
        )
        return {name: float(score[0]) for name, score in self.protocol.score(inputs, self.columns).items()}


def _name(example: Example) -> str:
    return example.key + example.image.suffix
