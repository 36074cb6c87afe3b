"""Test the training loop on a model that is small enough to check by hand."""

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cvkit.engine import checkpoint
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.training.fit import fit
from cvkit.engine.training.job import Job
from cvkit.engine.training.optim import Group
from cvkit.errors import DataError, StoppedBySignal, TrainingError

from .line import Line, Points, config, run, same, weights


def test_training_reduces_the_loss_and_saves_the_best_epoch(tmp_path: Path) -> None:
    result = run(tmp_path, epochs=30)
    assert result.best["val_loss"] < 0.3 < result.history[0]["val_loss"]
    assert result.best["val_loss"] == min(row["val_loss"] for row in result.history)
    best = checkpoint.load(tmp_path / "best.pt", "line")
    assert best["epoch"] == result.best_epoch
    assert best["spec"] == {"name": "line"}
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 31))
    assert [int(row["step"]) for row in rows][:2] == [4, 8]  # ten points in batches of three


def test_the_callback_gets_the_history_and_the_best_epoch_so_far(tmp_path: Path) -> None:
    def call(folder: Path, metric: str) -> list[tuple[int, int | None]]:
        calls: list[tuple[int, int | None]] = []
        folder.mkdir()
        job = Job(
            learner=Line(),
            train=Points(),
            val=Points(6),
            folder=RunFolder(folder),
            config=config(folder, best_metric=metric),
            lr=0.05,
            batch_size=3,
            workers=0,
            kind="line",
            after_epoch=lambda history, best: calls.append((len(history), best)),
        )
        losses = [row["val_loss"] for row in fit(job, Fabric(accelerator="cpu", devices=1)).history]
        expected = [losses.index(min(losses[: count + 1])) + 1 for count in range(4)]
        assert metric == "last" or [best for _, best in calls] == expected
        return calls

    assert [count for count, _ in call(tmp_path / "a", "loss")] == [1, 2, 3, 4]
    assert call(tmp_path / "b", "last") == [(count, None) for count in (1, 2, 3, 4)]


def test_the_callback_finds_the_weights_that_best_pt_gets_afterwards(tmp_path: Path) -> None:
    learner, seen = Line(), []

    def call(history: list[dict[str, Any]], best: int | None) -> None:
        held = {name: value.clone() for name, value in learner.model.state_dict().items()}
        epoch = checkpoint.load(tmp_path / "best.pt", "line")["epoch"] if (tmp_path / "best.pt").exists() else 0
        seen.append((held, best == len(history), epoch < len(history)))

    settings = config(tmp_path, ema=0.9, epochs=6)
    parts = {"learner": learner, "train": Points(), "val": Points(6), "config": settings, "after_epoch": call}
    job = Job(folder=RunFolder(tmp_path), lr=0.05, batch_size=3, workers=0, kind="line", **parts)  # type: ignore[arg-type]
    result = fit(job, Fabric(accelerator="cpu", devices=1))
    held, is_best, before = seen[result.best_epoch - 1]
    assert is_best and before
    assert same(held, checkpoint.load(tmp_path / "best.pt", "line")["weights"])
    assert not same(held, weights(tmp_path))  # these are the weights without averaging


def test_fewer_images_than_processes_are_refused(tmp_path: Path) -> None:
    class Empty(Points):
        def __bool__(self) -> bool:
            return True

    with pytest.raises(DataError, match="0 images cannot be shared by 1 processes"):
        run(tmp_path, data=Empty(0))


def test_a_checkpoint_of_an_earlier_version_resumes(tmp_path: Path) -> None:
    first = run(tmp_path, epochs=2)
    content = checkpoint.load(tmp_path / "last.pt", "training-state")
    content["state"]["best"] = -1.5  # written by version 0.1
    checkpoint.save(tmp_path / "last.pt", "training-state", content)
    assert run(tmp_path, epochs=3, resume=True).history[:2] == first.history


def test_an_undefined_score_is_left_out_of_the_mean(tmp_path: Path) -> None:
    learner = Line()
    row = run(tmp_path, learner, epochs=1).history[0]
    learner.model.eval()
    with torch.no_grad():
        errors = [(learner.model(x[None]) - 3 * x).square().item() for x in Points(6).x[:, None]]
    assert row["val_loss"] == pytest.approx(sum(errors) / 6)
    assert row["val_partial"] == pytest.approx(sum(errors[1:]) / 5)
    assert "val_nowhere" not in row


@pytest.mark.parametrize("signal_at", [1, 2, 4, 5, 7, 16])
def test_a_run_stopped_at_any_step_and_resumed_is_bit_identical(tmp_path: Path, signal_at: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings: dict[str, Any] = {"ema": 0.9, "accumulate": 2}
    expected = run(whole, **settings)
    if signal_at < 16:
        with pytest.raises(StoppedBySignal, match="cvkit resume"):
            run(parts, Line(signal_at), **settings)
        result = run(parts, resume=True, **settings)
    else:
        with pytest.raises(StoppedBySignal):  # the last batch: only the validation of the epoch remains
            run(parts, Line(signal_at), **settings)
        result = run(parts, resume=True, **settings)
    assert same(weights(whole), weights(parts))
    timeless = [
        [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second", "busy")} for row in each.history]
        for each in (expected, result)
    ]
    assert timeless[0] == timeless[1]
    best = [checkpoint.load(folder / "best.pt", "line") for folder in (whole, parts)]
    assert same(best[0]["weights"], best[1]["weights"])
    average = [checkpoint.load(folder / "last.pt", "training-state")["average"] for folder in (whole, parts)]
    assert same(average[0], average[1])


def test_a_run_depends_on_the_seed_and_not_on_the_number_of_workers(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", workers=1)
    run(tmp_path / "c", seed=1)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_accumulation_equals_a_larger_batch(tmp_path: Path) -> None:
    class Plain(Line):
        def __init__(self) -> None:
            super().__init__()
            self._model = nn.Sequential(nn.Linear(1, 1))
            nn.init.zeros_(self._model[0].weight)
            nn.init.zeros_(self._model[0].bias)

    def with_batches(folder: Path, size: int, accumulate: int) -> dict[str, Tensor]:
        folder.mkdir()
        settings = config(folder, accumulate=accumulate, clip_norm=0.0)
        parts = {"learner": Plain(), "train": Points(12), "val": Points(6), "config": settings}
        job = Job(folder=RunFolder(folder), lr=0.05, batch_size=size, workers=0, kind="line", **parts)  # type: ignore[arg-type]
        fit(job, Fabric(accelerator="cpu", devices=1))
        return weights(folder)

    one, other = with_batches(tmp_path / "a", 6, 1), with_batches(tmp_path / "b", 3, 2)
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_a_nan_loss_names_the_files_and_keeps_the_last_finite_state(tmp_path: Path) -> None:
    run(tmp_path, epochs=2)
    before = weights(tmp_path)
    with pytest.raises(TrainingError, match=r"point-7\.jpg"):
        run(tmp_path, data=Points(bad=7), epochs=4, resume=True)
    assert same(before, weights(tmp_path))


def test_patience_stops_a_run_that_does_not_improve(tmp_path: Path) -> None:
    class Stuck(Line):
        def groups(self) -> list[Group]:
            return [replace(super().groups()[0], scales=((0, 0.0),))]

    result = run(tmp_path, Stuck(), epochs=20, patience=3)
    assert len(result.history) == 4
    assert result.best_epoch == 1


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = weights(tmp_path)
    again = run(tmp_path, resume=True)
    assert again.history == first.history
    assert same(before, weights(tmp_path))


def test_resuming_with_other_data_is_refused(tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match="4 batches"):
        run(tmp_path, data=Points(40), resume=True)


def test_the_moving_average_is_validated_and_saved(tmp_path: Path) -> None:
    run(tmp_path, ema=0.99)
    last = checkpoint.load(tmp_path / "last.pt", "training-state")
    assert not same(last["model"], last["average"])
    best = checkpoint.load(tmp_path / "best.pt", "line")
    if best["epoch"] == 4:
        assert same(best["weights"], last["average"])


def test_a_signal_during_validation_keeps_the_training_of_the_epoch(tmp_path: Path) -> None:
    class SignalledInValidation(Line):
        def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            if self.signal_at == 0:
                self.signal_at = None
                os.kill(os.getpid(), signal.SIGUSR1)
            return super().scores(model, batch)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, ema=0.5)
    with pytest.raises(StoppedBySignal, match="after 0 epochs and 4 batches"):
        run(parts, SignalledInValidation(0), ema=0.5)
    assert not (parts / "best.pt").exists()
    run(parts, ema=0.5, resume=True)
    assert same(weights(whole), weights(parts))


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    class Explodes(Line):
        def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
            value = super().loss(model, batch)
            if self.calls == 8:  # the last batch of the second epoch: a finite loss, and a gradient that is not
                value = value + (next(model.parameters()).sum() * 0).sqrt() * 0
            return value

        def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"loss": torch.zeros_like(super().scores(model, batch)["loss"])}

    with pytest.raises(TrainingError, match="the weights no longer are"):
        run(tmp_path, Explodes())
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())
    assert checkpoint.load(tmp_path / "last.pt", "training-state")["state"]["epoch"] == 1
