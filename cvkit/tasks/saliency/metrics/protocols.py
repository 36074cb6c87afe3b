"""Saliency metrics as two benchmarks define them: which columns, and with which conventions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cvkit.errors import UsageError, did_you_mean
from cvkit.tasks.saliency.metrics.auc import auc, auc_borji, auc_judd, auc_shuffled, sauc
from cvkit.tasks.saliency.metrics.emd import emd
from cvkit.tasks.saliency.metrics.fixation import information_gain, nss
from cvkit.tasks.saliency.metrics.similarity import cc, kl, sim


@dataclass(frozen=True, kw_only=True)
class ScoreInputs:
    """What scores are computed from; what is None leaves the columns that need it undefined.

    ``pred`` and ``target`` are (N, H, W), any scale. ``fixations`` is (N, H, W) integer, how often each pixel was
    fixated on this image. ``others`` is the same for the other images, the negatives of shuffled AUC: (N, H, W), or
    (H, W) for all images together, from which each image's own are taken out again. ``baseline`` is (N, H, W) or
    (H, W), the map that information gain is measured against.
    """

    pred: Tensor
    target: Tensor | None = None
    fixations: Tensor | None = None
    others: Tensor | None = None
    baseline: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a score table: a metric and the fields of ``ScoreInputs`` that it takes after ``pred``."""

    metric: Callable[..., Tensor]
    takes: tuple[str, ...]

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return the scores, (N,) float64; NaN throughout when an input is missing."""
        rest = [getattr(inputs, name) for name in self.takes]
        if any(part is None for part in rest):
            return torch.full((len(inputs.pred),), torch.nan, dtype=torch.float64)
        return self.metric(inputs.pred, *rest)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A benchmark's way to score: its name and its columns in order."""

    name: str
    metrics: Mapping[str, Column]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the score table."""
        return tuple(self.metrics)

    def score(self, inputs: ScoreInputs, columns: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return the scores of each image by column, (N,) float64 on the CPU.

        ``columns`` is all by default. NaN means undefined: an input is missing, the image has no fixations, or a map
        holds a value that is not finite; leave it out of means. Raises UsageError for an unknown column.
        """
        wanted = self.columns if columns is None else tuple(columns)
        for name in wanted:
            if name not in self.metrics:
                raise UsageError(f"protocol '{self.name}' has no column '{name}'.{did_you_mean(name, self.columns)}")
        return {name: self.metrics[name].score(inputs).cpu() for name in wanted}


_TARGET, _FIXATIONS = ("target",), ("fixations",)
_SHUFFLED, _GAIN = ("fixations", "others"), ("fixations", "baseline")

PROTOCOLS: dict[str, Protocol] = {
    "mit": Protocol(
        name="mit",
        metrics={
            "auc_judd": Column(metric=auc_judd, takes=_FIXATIONS),
            "auc_borji": Column(metric=auc_borji, takes=_FIXATIONS),
            "auc_shuffled": Column(metric=auc_shuffled, takes=_SHUFFLED),
            "nss": Column(metric=partial(nss, repeats=False, correction=1), takes=_FIXATIONS),
            "cc": Column(metric=cc, takes=_TARGET),
            "sim": Column(metric=partial(sim, stretch=True), takes=_TARGET),
            "kl": Column(metric=kl, takes=_TARGET),
            "ig": Column(metric=partial(information_gain, repeats=False, stretch=True), takes=_GAIN),
            "emd": Column(metric=emd, takes=_TARGET),
        },
    ),
    "tuebingen": Protocol(
        name="tuebingen",
        metrics={
            "auc": Column(metric=auc, takes=_FIXATIONS),
            "sauc": Column(metric=sauc, takes=_SHUFFLED),
            "nss": Column(metric=partial(nss, repeats=True, correction=0), takes=_FIXATIONS),
            "cc": Column(metric=cc, takes=_TARGET),
            "sim": Column(metric=partial(sim, stretch=False), takes=_TARGET),
            "kl": Column(metric=kl, takes=_TARGET),
            "ig": Column(metric=partial(information_gain, repeats=True, stretch=False), takes=_GAIN),
        },
    ),
}
