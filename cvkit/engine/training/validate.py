"""Compute the mean of each validation score over all images and all processes."""

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cvkit.device import is_out_of_memory
from cvkit.engine.training.learner import Batch, Learner
from cvkit.engine.training.loading import BatchLoader
from cvkit.progress import Reporter, Stage, StageEnd, Step


@torch.no_grad()
def mean_scores(
    fabric: Fabric,
    learner: Learner,
    model: nn.Module,
    loader: BatchLoader,
    report: Reporter,
    interrupted: Callable[[], bool],
) -> dict[str, float] | None:
    """Return the mean of each of the learner's scores.

    Images for which a score is undefined (NaN) are left out, except for the loss, so that a loss that is not finite
    shows. A score that is undefined for every image is not in the result.

    Args:
        fabric: The processes.
        learner: Computes the scores.
        model: The network to run forward, in evaluation mode.
        loader: The validation batches of this process.
        report: Receives the progress.
        interrupted: Called after each batch that every process has, to decide whether to stop.

    Returns:
        The means by name, or None if ``interrupted`` returned True.
    """
    report(Stage("validation", len(loader), "batches"))
    common = int(min(row[0] for row in gather(fabric, [len(loader)])))
    sums: dict[str, Tensor] = {}
    for done, batch in enumerate(loader, start=1):
        for name, values in _scores(learner, model, fabric.to_device(batch)).items():
            defined = torch.isfinite(values) if name != "loss" else torch.ones_like(values, dtype=torch.bool)
            part = torch.stack([values[defined].double().sum(), defined.sum().double()])
            sums[name] = sums[name] + part if name in sums else part
        report(Step(done))
        if done <= common and interrupted():
            return None
    report(StageEnd())
    return _means(fabric, sums)


def _scores(learner: Learner, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the scores of a batch, computed in halves if memory does not suffice for all of it."""
    try:
        return learner.scores(model, batch)
    except RuntimeError as error:
        size = len(batch["index"])
        if not is_out_of_memory(error) or size == 1:
            raise
    # Outside the handler of the error, whose traceback keeps the memory of the failed batch.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    halves = (
        {name: value[part] for name, value in batch.items()} for part in (slice(size // 2), slice(size // 2, None))
    )
    first, second = (_scores(learner, model, half) for half in halves)
    return {name: torch.cat([first[name], second[name]]) for name in first}


def _means(fabric: Fabric, sums: dict[str, Tensor]) -> dict[str, float]:
    """Return the means over all processes from each score's (sum, count)."""
    means = {}
    for name in sorted(sums):
        reduced = fabric.all_reduce(sums[name], reduce_op="sum")
        assert isinstance(reduced, Tensor)
        total, count = reduced.tolist()
        if count:
            means[name] = total / count
    return means


def gather(fabric: Fabric, numbers: list[float]) -> list[list[float]]:
    """Return the numbers of every process, one row per process. All processes must call this at the same step."""
    if fabric.world_size == 1:
        return [numbers]
    rows = torch.zeros(fabric.world_size, len(numbers), dtype=torch.float64, device=fabric.device)
    rows[fabric.global_rank] = torch.tensor(numbers, dtype=torch.float64)
    summed = fabric.all_reduce(rows, reduce_op="sum")
    assert isinstance(summed, Tensor)
    return summed.tolist()
