"""Train a network for a number of epochs, with validation, checkpoints and exact resume.

The loop knows neither the data nor the task: a ``Learner`` supplies the loss and the scores, ``Data`` supplies batches.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from cvkit.config import LAST, SaveInterval
from cvkit.device import is_out_of_memory
from cvkit.engine.distributed import is_lost_connection
from cvkit.engine.stop import CommonStop, StopSignal
from cvkit.engine.training.board import Board
from cvkit.engine.training.checkpoints import Checkpoints
from cvkit.engine.training.history import best_epoch, describe_epoch
from cvkit.engine.training.job import FitResult, Job
from cvkit.engine.training.learner import Batch, Data
from cvkit.engine.training.loading import BatchLoader, timed, worker_failure
from cvkit.engine.training.remaining import RemainingTime
from cvkit.engine.training.sampling import EpochSampler
from cvkit.engine.training.state import State
from cvkit.engine.training.trainer import Trainer
from cvkit.engine.training.validate import gather, mean_scores
from cvkit.errors import DataError, StoppedBySignal, TrainingError
from cvkit.files import write_csv
from cvkit.progress import Event, Note, Reporter, Stage, StageEnd, Step, ignore


def fit(job: Job, fabric: Fabric, report: Reporter = ignore) -> FitResult:
    """Train to the end of the run.

    Args:
        job: The run.
        fabric: The processes.
        report: Receives the progress.

    Raises:
        DataError: If there are fewer images than processes.
        StoppedBySignal: If a signal came. Everything is saved before.
        TrainingError: If the loss or a weight is not finite (the message names the files of the batch, and ``last.pt``
            keeps the last good state), or if memory does not suffice.
    """
    images = min(len(job.train), len(job.val))
    if images < fabric.world_size:
        raise DataError(f"{images} images cannot be shared by {fabric.world_size} processes.")
    with StopSignal() as stop:
        loop = _Loop(job, fabric, report, stop)
        try:
            with _explained(job, fabric):
                loop.run()
        finally:
            loop.board.close()
            for loader in (loop.train_loader, loop.val_loader):
                loader.end_workers()
    state = loop.state
    best = next((row for row in state.history if row["epoch"] == state.best_epoch), {})
    return FitResult(state.best_epoch, best, state.history, stop.requested)


@contextmanager
def _explained(job: Job, fabric: Fabric) -> Iterator[None]:
    """Turn errors of PyTorch that have their cause in the machine or the settings into errors that say so."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            "a batch norm cannot train on a single value per channel (a batch of 1 image, perhaps the last of an "
            f"epoch of {len(job.train)}, and a feature map of 1 pixel): use another batch size or larger images."
        ) from error
    except RuntimeError as error:
        message = worker_failure(error)
        if is_out_of_memory(error):
            message = "out of memory: use a smaller batch size (and accumulate gradients to make up) or smaller images."
        elif fabric.world_size > 1 and is_lost_connection(error):
            message = f"process {fabric.global_rank + 1} lost the connection to another process, which has ended."
        if message is None:
            raise
        raise TrainingError(message) from error


class _Loop:
    def __init__(self, job: Job, fabric: Fabric, report: Reporter, stop: StopSignal) -> None:
        self.job, self.fabric, self.report, self.stop = job, fabric, report, CommonStop(stop, fabric)
        self.config = job.config
        self.is_main = fabric.global_rank == 0
        self.sampler, self.train_loader = self._load(job.train, shuffle=True)
        _, self.val_loader = self._load(job.val, shuffle=False)
        self.batches = self.sampler.batches()
        self.trainer = Trainer(job.learner, fabric, job.config, job.lr, self.batches)
        self.checkpoints = Checkpoints(self.trainer, job.folder, job.kind, job.data)
        self.save_every = SaveInterval.parse("--save-every", job.config.save_every)
        self.state = State()
        if job.config.resume and job.folder.has_state:
            self.state = self.checkpoints.restore(report)
            self.state.take_sums(fabric.global_rank)
            report(Note(f"resuming after epoch {self.state.epoch}, batch {self.state.batch} of {self.batches}"))
        self.saved_at, self.saved_step = time.monotonic(), self.state.step
        self.remaining = RemainingTime(
            self.config.epochs, self.batches, len(self.val_loader), history=self.state.history
        )
        self.board = Board(job.folder.path, enabled=self.is_main)

    def _load(self, data: Data, *, shuffle: bool) -> tuple[EpochSampler, BatchLoader]:
        fabric, job = self.fabric, self.job
        sampler = EpochSampler(
            len(data),
            job.batch_size,
            seed=job.config.seed,
            shuffle=shuffle,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        pin = fabric.device.type == "cuda" and data.device.type == "cpu"
        return sampler, BatchLoader(data, sampler, workers=job.workers, pin=pin)

    def run(self) -> None:
        if self.is_main:
            after_epoch = self.state.epoch > 0 and not self.state.batch
            if after_epoch:  # the process may have been killed between last.pt and the other files
                self._draw_epoch()
            self.checkpoints.mend_best(self.state, self.report)
            if after_epoch:
                self._write_history()
        self.remaining.start()
        while self._goes_on():
            self._train_epoch()
            self._leave_before_validation()
            self._end_epoch(self._validate())

    def _goes_on(self) -> bool:
        """Return whether another epoch follows."""
        patience = self.config.patience
        is_exhausted = patience > 0 and self.state.epoch - self.state.best_epoch >= patience
        return self.state.epoch < self.config.epochs and not is_exhausted

    def _train_epoch(self) -> None:
        state = self.state
        self.sampler.start(state.epoch, state.batch)
        self.report(Stage(f"epoch {state.epoch + 1}/{self.config.epochs}", self.batches, "batches", state.batch))
        self.job.learner.start_epoch(self.trainer.model, state.epoch)
        pending: tuple[Tensor, Batch, int] | None = None
        began = time.perf_counter()
        for batch, waited in timed(self.train_loader if state.batch < self.batches else []):
            size = self.sampler.examples(state.batch)
            parts = state.parts
            loss = self.trainer.train_batch(self.fabric.to_device(batch), state, self.sampler.weight(state.batch))
            if state.parts > parts:
                self.report(Note(f"out of memory: each batch is computed in {state.parts} parts now", "warning"))
            # The loss of the previous batch is read only now, so that a GPU is never waited for.
            self._add_loss(pending)
            pending = (loss, batch, size)
            state.batch += 1
            state.images += size
            state.waited += waited
            loss_so_far = state.loss_sum / max(1, state.images - size)
            run = self.remaining.after_batch(state.epoch, state.batch)
            self.report(Step(state.batch, {"loss": loss_so_far, "run": run}))
            if self._is_time_to_save():
                self._add_loss(pending)
                pending = None
                state.seconds += time.perf_counter() - began
                began = time.perf_counter()
                self._save()
                self._leave_if_agreed()
        self._add_loss(pending)
        state.seconds += time.perf_counter() - began
        self.report(StageEnd())

    def _is_time_to_save(self) -> bool:
        """Return whether to save within an epoch; never between batches whose gradients are added up."""
        if self.state.batch % self.config.accumulate:
            return False
        elapsed = time.monotonic() - self.saved_at
        save = self.save_every.is_over(elapsed, self.state.step - self.saved_step)
        leaving = self.stop.poll_after_step(save=save)
        return leaving or self.stop.saving

    def _add_loss(self, pending: tuple[Tensor, Batch, int] | None) -> None:
        """Add the loss of a batch to the sum of the epoch, and refuse one that is not finite."""
        if pending is None:
            return
        value = pending[0].item()
        if not math.isfinite(value):
            names = ", ".join(self.job.learner.names(pending[1]))
            raise TrainingError(
                f"the loss is {value} at epoch {self.state.epoch + 1}, batch of {names}: check these files, or use "
                f"a lower learning rate{self.checkpoints.remark}."
            )
        self.state.loss_sum += value * pending[2]

    def _validate(self) -> dict[str, float]:
        """Return the mean validation scores of the weights, or of their moving average if there is one."""
        trainer = self.trainer
        trainer.share_buffers()
        with trainer.averaged_weights():
            trainer.model.eval()
            means = mean_scores(
                self.fabric,
                self.job.learner,
                trainer.model,
                self.val_loader,
                self._report_validation,
                interrupted=self.stop.poll_after_step,
            )
        if means is None:
            self._leave_before_validation()
        assert means is not None
        if not math.isfinite(means["loss"]):
            raise TrainingError(
                f"the validation loss is {means['loss']} after epoch {self.state.epoch + 1}: use a lower learning "
                f"rate{self.checkpoints.remark}."
            )
        return means

    def _report_validation(self, event: Event) -> None:
        if isinstance(event, Step):
            run = self.remaining.after_validation_batch(self.state.epoch, event.done)
            event = Step(event.done, {**event.figures, "run": run})
        self.report(event)

    def _end_epoch(self, scores: dict[str, float]) -> None:
        state, metric = self.state, self.config.best_metric
        state.epoch += 1
        row = self._row(scores)
        state.history.append(row)
        state.best_epoch = best_epoch(state.history, metric)
        state.start_epoch()
        if self.is_main:
            self.board.add(row)
        # In this order, because a run without last.pt cannot be resumed, and the other files can be written from it.
        # The pictures of the best weights come before these.
        self._save()
        if self.is_main:
            self._draw_epoch()
            if state.best_epoch == state.epoch:
                self.checkpoints.save_best(row)
            self._write_history()
        best = metric != LAST and state.best_epoch == state.epoch
        remaining = self.remaining.after_epoch(state.epoch)
        self.report(Note(describe_epoch(row, best=best, remaining=remaining if self._goes_on() else "")))
        if self.stop.poll() and state.epoch < self.config.epochs:
            self._leave_if_agreed()

    def _draw_epoch(self) -> None:
        """Write the pictures of the epoch that has just ended, from the validated weights."""
        # With --best-metric last every epoch is the best one so far, which says nothing.
        best = None if self.config.best_metric == LAST else self.state.best_epoch
        with self.trainer.averaged_weights():
            self.job.after_epoch(self.state.history, best)

    def _write_history(self) -> None:
        history = self.state.history
        write_csv(self.job.folder.history, list(dict.fromkeys(name for row in history for name in row)), history)

    def _row(self, scores: dict[str, float]) -> dict[str, Any]:
        state = self.state
        sums = gather(self.fabric, [state.loss_sum, state.images])
        loss_sum, images = (math.fsum(column) for column in zip(*sums, strict=True))
        return {
            "epoch": state.epoch,
            "step": state.step,
            "lr": self.trainer.largest_rate(state.step, state.epoch - 1),
            "train_loss": loss_sum / max(1, images),
            **{f"val_{name}": value for name, value in scores.items()},
            "seconds": round(state.seconds, 3),
            "images_per_second": round(images / max(1e-9, state.seconds), 3),
            "busy": round(1 - state.waited / max(1e-9, state.seconds), 4),
        }

    def _save(self) -> None:
        epoch = self.state.epoch + (1 if self.state.batch else 0)  # no batch: the epoch has just ended
        self.trainer.check_finite(epoch, self.checkpoints.remark)
        self.state.sums = gather(self.fabric, [self.state.loss_sum, self.state.images])
        if self.is_main:
            self.checkpoints.save(self.state)
        self.saved_at, self.saved_step = time.monotonic(), self.state.step

    def _leave_before_validation(self) -> None:
        """Leave if a signal came. The epoch's training is saved, and a resumed run begins with the validation."""
        if self.stop.poll():
            self._save()
            self._leave_if_agreed()

    def _leave_if_agreed(self) -> None:
        if self.stop.agreed:
            self.fabric.barrier()  # no process leaves before the state is written
            raise StoppedBySignal(
                f"stopped by a signal after {self.state.epoch} epochs and {self.state.batch} batches; everything is "
                f"saved: `cvkit resume {self.job.folder.path}` continues."
            )
