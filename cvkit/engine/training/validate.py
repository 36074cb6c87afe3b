"""Validation: the mean of each score over all images and all processes."""

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cvkit.engine.training.learner import Learner
from cvkit.progress import Reporter, Stage, StageEnd, Step


@torch.no_grad()
def mean_scores(
    fabric: Fabric,
    learner: Learner,
    model: nn.Module,
    loader: DataLoader,
    listen: Reporter,
    interrupted: Callable[[], bool],
) -> dict[str, float] | None:
    """Return the mean of each of the learner's scores, leaving out images for which a score is undefined (NaN).

    The loss is never left out: one that is not finite shows. A score undefined for every image is not in the result.
    Returns None when ``interrupted`` between two batches (asked in a single process only: several must stay together).
    """
    listen(Stage("validation", len(loader), "batches"))
    sums: dict[str, Tensor] = {}
    for done, batch in enumerate(loader, start=1):
        for name, values in learner.scores(model, fabric.to_device(batch)).items():
            known = torch.isfinite(values) if name != "loss" else torch.ones_like(values, dtype=torch.bool)
            part = torch.stack([values[known].double().sum(), known.sum().double()])
            sums[name] = sums[name] + part if name in sums else part
        listen(Step(done))
        if fabric.world_size == 1 and interrupted():
            return None
    listen(StageEnd())
    means = {}
    for name in sorted(sums):
        reduced = fabric.all_reduce(sums[name], reduce_op="sum")
        assert isinstance(reduced, Tensor)
        total, count = reduced.tolist()
        if count:
            means[name] = total / count
    return means
