"""The one training loop: batches, a model, a loss and scores; it does not know what they are about."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cvkit.config import LAST, TrainingConfig
from cvkit.device import is_out_of_memory
from cvkit.engine import checkpoint
from cvkit.engine.run_folder import RunFolder
from cvkit.engine.stop import StopSignal
from cvkit.engine.training.board import Board
from cvkit.engine.training.learner import Batch, Data, Learner
from cvkit.engine.training.optim import WeightAverage, make_optimizer, schedule_factor, set_rates
from cvkit.engine.training.sampling import EpochSampler, end_workers, make_loader
from cvkit.engine.training.state import Parts, State, summary, weights_of
from cvkit.engine.training.validate import mean_scores
from cvkit.errors import StoppedBySignal, TrainingError
from cvkit.files import write_csv
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step, ignore

SAVE_SECONDS = 600.0  # a long epoch is saved in its middle this often
AGREE_STEPS = 10  # several processes agree this often on whether to stop
LOWER_IS_BETTER = frozenset({"loss", "kl"})


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training run: what learns, from what, where it is kept, and how."""

    learner: Learner
    train: Data
    val: Data
    folder: RunFolder
    config: TrainingConfig
    lr: float
    batch_size: int
    workers: int
    kind: str
    after_epoch: Callable[[list[dict[str, Any]]], None] = lambda _: None


@dataclass(frozen=True)
class FitResult:
    """What a run came to: its best epoch and that epoch's row, and the rows of all epochs.

    ``stopped`` tells that a signal came when nothing was left to train.
    """

    best_epoch: int
    best: Mapping[str, Any]
    history: list[dict[str, Any]]
    stopped: bool = False


def fit(job: Job, fabric: Fabric, listen: Reporter = ignore) -> FitResult:
    """Train to the end of the run, or to a signal.

    Raises StoppedBySignal after saving, and TrainingError when the loss is no longer finite (naming the files of the
    batch; ``last.pt`` keeps the last good state) or the memory does not suffice.
    """
    with StopSignal() as stop:
        loop = _Loop(job, fabric, listen, stop)
        try:
            loop.run()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError("out of memory: take a smaller --batch-size (with --accumulate) or --size.") from error
        finally:
            loop.board.close()
            for loader in (loop.train_loader, loop.val_loader):
                end_workers(loader)
    state = loop.state
    best = next((row for row in state.history if row["epoch"] == state.best_epoch), {})
    return FitResult(state.best_epoch, best, state.history, stop.requested)


class _Loop:
    def __init__(self, job: Job, fabric: Fabric, listen: Reporter, stop: StopSignal) -> None:
        self.job, self.fabric, self.listen, self.stop = job, fabric, listen, stop
        self.config = config = job.config
        self.state = State()
        self.bare = job.learner.model
        self.main = fabric.global_rank == 0
        if fabric.device.type == "cuda":
            self.bare.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(job.learner.groups(), config, job.lr)
        runnable: nn.Module = torch.compile(self.bare) if config.compile else self.bare  # type: ignore[assignment]
        self.model, self.optimizer = fabric.setup(runnable, optimizer)
        self.average = WeightAverage(self.bare, config.ema) if config.ema else None
        self.sampler, self.train_loader = self._batches_of(job.train, shuffle=True)
        _, self.val_loader = self._batches_of(job.val, shuffle=False)
        self.batches = self.sampler.batches()
        self.steps_per_epoch = math.ceil(self.batches / config.accumulate)
        self.board = Board(job.folder.path, enabled=self.main)
        self.saved_at = time.monotonic()
        self.leaving = False
        if config.resume and job.folder.last.is_file():
            self._restore()

    def _batches_of(self, data: Data, *, shuffle: bool) -> tuple[EpochSampler, DataLoader[Batch]]:
        fabric, job = self.fabric, self.job
        share = {"seed": job.config.seed, "rank": fabric.global_rank, "world": fabric.world_size}
        sampler = EpochSampler(len(data), job.batch_size, shuffle=shuffle, **share)
        pin = fabric.device.type == "cuda" and data.device.type == "cpu"
        return sampler, make_loader(data, sampler, workers=job.workers, pin=pin)

    def run(self) -> None:
        while self.state.epoch < self.config.epochs and not self._out_of_patience():
            self._train_epoch()
            self._leave_before_validation()
            self._end_epoch(self._validate())

    def _leave_before_validation(self) -> None:
        """Leave when a signal came, the epoch's training kept; a resumed run begins with the validation."""
        if self._agree_to_leave():
            self._save_state()
            self._leave_if_agreed()

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience > 0 and self.state.epoch - self.state.best_epoch >= patience

    def _train_epoch(self) -> None:
        state, config = self.state, self.config
        self.sampler.start(state.epoch, state.batch)
        self.listen(Stage(f"epoch {state.epoch + 1}/{config.epochs}", self.batches, "batches", state.batch))
        self.model.train()
        pending: tuple[Tensor, Batch] | None = None
        began = time.perf_counter()
        for batch, waited in _timed(self.train_loader if state.batch < self.batches else []):
            loss = self._step(self.fabric.to_device(batch))
            size = len(batch["index"])
            # The loss of the batch before is looked at only now, so that a GPU need not wait to be asked.
            self._look_at(pending)
            pending = (loss, batch)
            state.batch += 1
            state.images += size
            state.waited += waited
            self.listen(Step(state.batch, {"loss": state.loss_sum / max(1, state.images - size)}))
            if self._is_time_to_save():
                self._look_at(pending)
                pending = None
                state.seconds += time.perf_counter() - began
                began = time.perf_counter()
                self._save_state()
                self._leave_if_agreed()
        self._look_at(pending)
        state.seconds += time.perf_counter() - began
        self.listen(StageEnd())

    def _is_time_to_save(self) -> bool:
        """Tell whether to save in the middle of an epoch; never between batches whose gradients are being added."""
        state, several = self.state, self.fabric.world_size > 1
        if state.batch % self.config.accumulate:
            return False
        asked = self._agree_to_leave() if not several or state.step % AGREE_STEPS == 0 else False
        return asked or time.monotonic() - self.saved_at > SAVE_SECONDS

    def _step(self, batch: Batch) -> Tensor:
        """Run one batch forward and backward, and the optimizer when its group of batches is complete."""
        state, config = self.state, self.config
        position = state.batch % config.accumulate
        group = min(config.accumulate, self.batches - (state.batch - position))
        last = position == group - 1
        seed = np.random.SeedSequence((config.seed, state.epoch, state.batch, self.fabric.global_rank))
        torch.manual_seed(int(seed.generate_state(1)[0]))
        with self.fabric.no_backward_sync(self.model, enabled=not last):
            loss = self.job.learner.loss(self.model, batch)
            self.fabric.backward(loss / group)
        if last:
            set_rates(self.optimizer, self._rate(), state.epoch)
            if config.clip_norm:
                self.fabric.clip_gradients(
                    self.model, self.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
                )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            state.step += 1
            if self.average:
                self.average.update(self.bare, state.step)
        return loss.detach()

    def _rate(self) -> float:
        return self.job.lr * schedule_factor(self.config, self.state.step, self.steps_per_epoch)

    def _look_at(self, pending: tuple[Tensor, Batch] | None) -> None:
        if pending is None:
            return
        value = pending[0].item()
        if not math.isfinite(value):
            names = ", ".join(self.job.learner.names(pending[1]))
            raise TrainingError(
                f"the loss is {value} at epoch {self.state.epoch + 1}, batch of {names}: look at these files, or take "
                f"a lower --lr; {self.job.folder.last.name} keeps the last good state."
            )
        self.state.loss_sum += value * len(pending[1]["index"])

    def _validate(self) -> dict[str, float]:
        """Return the mean scores of the weights as they are, or of their moving average when there is one."""
        raw = None
        if self.average:
            raw = {name: value.clone() for name, value in weights_of(self.bare).items()}
            self.bare.load_state_dict(self.average.values)
        self.model.eval()
        means = mean_scores(
            self.fabric, self.job.learner, self.model, self.val_loader, self.listen, lambda: self.stop.requested
        )
        if raw is not None:
            self.bare.load_state_dict(raw)
        if means is None:
            self._leave_before_validation()
        assert means is not None
        if not math.isfinite(means["loss"]):
            raise TrainingError(
                f"the validation loss is {means['loss']} after epoch {self.state.epoch + 1}: take a lower --lr; "
                f"{self.job.folder.last.name} keeps the last good state."
            )
        return means

    def _judged_weights(self) -> dict[str, Tensor]:
        """Return the weights that are validated and kept in ``best.pt``."""
        return self.average.values if self.average else weights_of(self.bare)

    def _end_epoch(self, scores: dict[str, float]) -> None:
        state, config = self.state, self.config
        state.epoch += 1
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "lr": self._rate(),
            "train_loss": state.loss_sum / max(1, state.images),
            **{f"val_{name}": value for name, value in scores.items()},
            "seconds": round(state.seconds, 3),
            "images_per_second": round(state.images * self.fabric.world_size / max(1e-9, state.seconds), 3),
            "busy": round(1 - state.waited / max(1e-9, state.seconds), 4),
        }
        state.history.append(row)
        value = self._worth(scores)
        if state.best is None or value > state.best:
            state.best, state.best_epoch = value, state.epoch
            self._save_best(row)
        state.batch, state.loss_sum, state.images, state.seconds, state.waited = 0, 0.0, 0, 0.0, 0.0
        self._save_state()
        if self.main:
            columns = list(dict.fromkeys(name for line in state.history for name in line))
            write_csv(self.job.folder.history, columns, state.history)
            self.board.add(row)
            self.job.after_epoch(state.history)
        self.listen(Note(summary(row, best=state.best_epoch == state.epoch and config.best_metric != LAST)))
        if self._agree_to_leave() and state.epoch < config.epochs:
            self._leave_if_agreed()

    def _worth(self, scores: dict[str, float]) -> float:
        """Return what makes an epoch the best one by being higher."""
        if self.config.best_metric == LAST:
            return float(self.state.epoch)
        name = self.config.best_metric if self.config.best_metric in scores else "loss"
        return -scores[name] if name in LOWER_IS_BETTER else scores[name]

    def _save_best(self, row: dict[str, Any]) -> None:
        if self.main:
            content = {"weights": self._judged_weights(), "epoch": row["epoch"], "scores": row}
            checkpoint.save(self.job.folder.best, self.job.kind, {**self.job.learner.metadata(), **content})

    def _save_state(self) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in weights_of(self.bare).values()):
            raise TrainingError(
                f"a gradient was not finite in epoch {self.state.epoch + 1}, and the weights no longer are: take a "
                f"lower --lr; {self.job.folder.last.name} keeps the last good state."
            )
        if self.main:
            self._parts().save(self.job.folder.last, self.state)
        self.saved_at = time.monotonic()

    def _restore(self) -> None:
        self.state = self._parts().restore(self.job.folder.last)
        self.listen(Note(f"resuming after epoch {self.state.epoch}, batch {self.state.batch} of {self.batches}"))

    def _parts(self) -> Parts:
        scaler = self.fabric.strategy.precision
        return Parts(self.bare, self.optimizer.optimizer, scaler, self.average, self.batches)

    def _agree_to_leave(self) -> bool:
        """Tell whether a signal came; several processes ask each other, so that they leave at the same step."""
        if self.fabric.world_size == 1:
            self.leaving = self.stop.requested
        else:
            asked = torch.tensor(float(self.stop.requested), device=self.fabric.device)
            self.leaving = bool(self.fabric.all_reduce(asked, reduce_op="sum") > 0)  # type: ignore[operator]
        return self.leaving

    def _leave_if_agreed(self) -> None:
        if self.leaving:
            self.fabric.barrier()  # nobody leaves before the state is written
            raise StoppedBySignal(
                f"stopped by a signal after {self.state.epoch} epochs and {self.state.batch} batches; all is saved: "
                f"the same command with --resume --out {self.job.folder.path} goes on from there."
            )


def _timed(batches: Any) -> Iterator[tuple[Batch, float]]:
    """Yield each batch with the seconds spent waiting for it."""
    iterator = iter(batches)
    while True:
        began = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began
