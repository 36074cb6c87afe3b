"""Saliency metrics with the conventions of two benchmarks, MIT and Tuebingen."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cvkit.errors import UsageError
from cvkit.messages import did_you_mean
from cvkit.tasks.saliency.metrics.auc import auc, auc_borji, auc_judd, auc_shuffled, sauc
from cvkit.tasks.saliency.metrics.emd import emd
from cvkit.tasks.saliency.metrics.fixation import information_gain, nss
from cvkit.tasks.saliency.metrics.similarity import cc, kl, sim


@dataclass(frozen=True, kw_only=True)
class ScoreInputs:
    """Inputs of the metrics; a metric whose input is None is undefined (NaN).

    Attributes:
        pred: (N, H, W) predicted maps of any scale.
        target: (N, H, W) human maps of any scale.
        fixations: (N, H, W) integers, the number of fixations of each pixel.
        others: Fixations of other images, the negatives of shuffled AUC: (N, H, W), or (H, W) for all images together,
            from which the fixations of each image itself are subtracted.
        baseline: (N, H, W) or (H, W), the map against which information gain is measured.
    """

    pred: Tensor
    target: Tensor | None = None
    fixations: Tensor | None = None
    others: Tensor | None = None
    baseline: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a score table.

    Attributes:
        metric: Function of ``pred`` and further inputs.
        takes: Names of the fields of ``ScoreInputs`` that follow ``pred``.
    """

    metric: Callable[..., Tensor]
    takes: tuple[str, ...]

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return the scores, (N,) float64; all NaN if an input is None."""
        rest = [getattr(inputs, name) for name in self.takes]
        if any(part is None for part in rest):
            return torch.full((len(inputs.pred),), torch.nan, dtype=torch.float64)
        return self.metric(inputs.pred, *rest)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The conventions of a benchmark.

    Attributes:
        name: Name of the benchmark.
        metrics: Columns by name, in the order of the score table.
    """

    name: str
    metrics: Mapping[str, Column]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the score table."""
        return tuple(self.metrics)

    def score(self, inputs: ScoreInputs, columns: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Compute the scores of each image.

        Args:
            inputs: Maps and ground truth.
            columns: Names of the columns to compute, all by default.

        Returns:
            {column: (N,) float64 on the CPU}. NaN means undefined and must be left out of means: an input is missing,
            the image has no fixations, or a map holds a value that is not finite.

        Raises:
            UsageError: If there is no such column.
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
