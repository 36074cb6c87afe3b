"""Select the best of several variants of a classifier that were measured on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from cvkit.intervals import sign_test

SIGNIFICANT = 0.05
V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class Score:
    """The results of one variant on N images.

    Attributes:
        correct: Whether the most likely class of each image is the true one.
        loss: Mean cross entropy in nats; infinite if it is not finite.
    """

    correct: tuple[bool, ...]
    loss: float

    @property
    def order(self) -> tuple[int, float]:
        """Sort key: the number of correct images, then the loss; larger is better."""
        return sum(self.correct), -self.loss


def select_best(scores: Mapping[V, Score]) -> V:
    """Return the variant of the smallest loss among those that are not significantly less accurate than any other.

    The loss depends on all probabilities, so it separates variants that differ in a few images. It does not decide
    alone, because it also depends on how sure a network is. Significance is that of McNemar's exact test at 5 %.
    """
    top = max(scores.values(), key=lambda score: score.order)
    return min(
        (variant for variant, score in scores.items() if not _is_worse(score, top)),
        key=lambda variant: scores[variant].loss,
    )


def _is_worse(score: Score, top: Score) -> bool:
    pairs = list(zip(score.correct, top.correct, strict=True))
    wins, losses = pairs.count((True, False)), pairs.count((False, True))
    return losses > wins and sign_test(wins, losses) < SIGNIFICANT
