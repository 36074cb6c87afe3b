"""Estimate how long the rest of a training run takes."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

VALIDATION_GUESS = 0.5  # of the time per training batch, until a validation batch is measured: it has no backward pass


class _Rate:
    """The mean time per unit of one kind of work, in seconds; ``guess`` is the mean before it is measured."""

    def __init__(self, guess: float | None = None) -> None:
        self.guess = guess
        self._first = self._others = 0.0
        self._count = 0

    def add(self, seconds: float) -> None:
        if self._count:
            self._others += seconds
        else:
            self._first = seconds
        self._count += 1

    @property
    def mean(self) -> float | None:
        """Return the mean without the first unit, which includes the warm-up and counts only if nothing else is known.

        None if nothing is known at all.
        """
        if self._count > 1:
            return self._others / (self._count - 1)
        return self.guess if self.guess is not None or not self._count else self._first


class RemainingTime:
    """The time that a run still takes: all its epochs with their validations, and what is written after them.

    It follows from the times per training batch, per validation batch and per end of an epoch that this process has
    measured. In the first batch of a resumed run, the last epoch of its history gives the time per batch.

    Args:
        epochs: Number of epochs of the run.
        batches: Number of training batches per epoch.
        val_batches: Number of validation batches per epoch.
        history: One row per epoch that is done, with its training time in ``seconds``.
    """

    def __init__(self, epochs: int, batches: int, val_batches: int, history: Sequence[Mapping[str, Any]] = ()) -> None:
        self.epochs, self.batches, self.val_batches = epochs, batches, val_batches
        past = history[-1].get("seconds") if history and batches else None
        self._train = _Rate(None if past is None else past / batches)
        self._validation, self._end = _Rate(), _Rate()
        self._marked = monotonic()

    def start(self) -> None:
        """Begin to measure: what happened since the last call of a method belongs to no batch."""
        self._marked = monotonic()

    def after_batch(self, epoch: int, batch: int) -> str:
        """Measure a training batch, and describe the remaining time.

        Args:
            epoch: Number of completed epochs.
            batch: Number of completed batches in the current epoch.

        Returns:
            Such as "0:41 left".
        """
        self._measure(self._train)
        return self._describe(epoch, batch, 0)

    def after_validation_batch(self, epoch: int, batch: int) -> str:
        """Measure a validation batch, and describe the remaining time; the arguments are those of ``after_batch``."""
        self._measure(self._validation)
        return self._describe(epoch, self.batches, batch)

    def after_epoch(self, epoch: int) -> str:
        """Measure what follows a validation, and describe the time that remains after ``epoch`` completed epochs."""
        self._measure(self._end)
        return self._describe(epoch, 0, 0)

    def seconds(self, epoch: int, batch: int, val_batch: int) -> float:
        """Return the remaining time in seconds.

        Args:
            epoch: Number of completed epochs.
            batch: Number of completed training batches in the current epoch.
            val_batch: Number of completed validation batches in the current epoch.
        """
        epochs = max(0, self.epochs - epoch)
        train = self._train.mean or 0.0
        validation = self._validation.mean if self._validation.mean is not None else VALIDATION_GUESS * train
        left = train * (epochs * self.batches - batch) + validation * (epochs * self.val_batches - val_batch)
        return max(0.0, left + (self._end.mean or 0.0) * epochs)

    def _measure(self, rate: _Rate) -> None:
        now = monotonic()
        rate.add(now - self._marked)
        self._marked = now

    def _describe(self, epoch: int, batch: int, val_batch: int) -> str:
        return f"{format_duration(self.seconds(epoch, batch, val_batch))} left"


def format_duration(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
