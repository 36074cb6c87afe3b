"""Test that training goes on in smaller parts when memory does not suffice."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cvkit.errors import StoppedBySignal, TrainingError
from cvkit.progress import Event, Note

from .line import Line, run, weights


class Small(Line):
    """A learner without dropout on a machine whose memory holds ``fitting`` examples."""

    def __init__(self, fitting: int, signal_at: int | None = None) -> None:
        super().__init__(signal_at)
        self.model[1] = nn.Identity()
        self.fitting = fitting
        self.sizes: list[int] = []

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        self.sizes.append(len(batch["x"]))
        loss = super().loss(model, batch)
        if len(batch["x"]) > self.fitting:
            loss.backward()  # leaves gradients behind, as a backward pass that fails in the middle
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(batch["x"]) > self.fitting:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
        return super().scores(model, batch)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_in_parts_gives_the_weights_of_whole_batches(tmp_path: Path, accumulate: int) -> None:
    whole = run(tmp_path / "whole", Small(fitting=99), accumulate=accumulate)
    learner = Small(fitting=1)
    parts = run(tmp_path / "parts", learner, accumulate=accumulate)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name in one:
        torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=1e-5)
    assert parts.best["val_loss"] == pytest.approx(whole.best["val_loss"], rel=1e-4)
    assert parts.history[-1]["train_loss"] == pytest.approx(whole.history[-1]["train_loss"], rel=1e-4)
    assert set(learner.sizes[5:]) == {1}  # it does not try larger parts again


def test_the_number_of_parts_is_reported_and_kept_by_a_resumed_run(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(StoppedBySignal):
        run(tmp_path / "r", Small(fitting=2, signal_at=6), report=events.append)
    assert Note("out of memory: each batch is computed in 2 parts now", "warning") in events
    learner = Small(fitting=2)
    run(tmp_path / "r", learner, resume=True)
    assert max(learner.sizes) == 2


def test_an_example_that_does_not_fit_alone_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="out of memory: use a smaller"):
        run(tmp_path / "r", Small(fitting=0))
