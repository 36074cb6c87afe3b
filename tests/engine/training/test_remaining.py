"""Test the estimate of the remaining time, on a clock that the tests set."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor, nn

from cvkit.engine.training import remaining
from cvkit.engine.training.remaining import RemainingTime, format_duration
from cvkit.progress import Event, Note, Stage, Step

from .line import Line, run

BATCH_S, VALIDATION_S = 10.0, 4.0
BATCHES, VAL_BATCHES = 4, 2  # of ``line.run``


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(remaining, "monotonic", clock)
    return clock


def pass_time(clock: Clock, seconds: float, call: Callable[..., str], *words: int) -> str:
    clock.now += seconds
    return call(*words)


def test_the_whole_run_is_counted_with_its_validations_and_ends_of_epochs(clock: Clock) -> None:
    left = RemainingTime(epochs=3, batches=4, val_batches=2)
    assert pass_time(clock, 30, left.after_batch, 0, 1) == "7:00 left"  # 11 batches, and 6 of half of 20 s
    assert pass_time(clock, 10, left.after_batch, 0, 2) == "2:10 left"  # without the first one and its warm-up
    for batch in (3, 4):
        pass_time(clock, 10, left.after_batch, 0, batch)
    assert left.seconds(0, 4, 0) == 8 * 10 + 6 * 5
    assert pass_time(clock, 4, left.after_validation_batch, 0, 1) == "1:40 left"
    assert pass_time(clock, 4, left.after_validation_batch, 0, 2) == "1:36 left"
    assert pass_time(clock, 7, left.after_epoch, 1) == "1:50 left"  # 8 batches, 4 of validation, 2 ends
    assert left.seconds(3, 0, 0) == left.seconds(4, 0, 0) == 0


def test_a_resumed_run_counts_by_its_history_until_it_has_measured(clock: Clock) -> None:
    left = RemainingTime(epochs=3, batches=4, val_batches=2, history=[{"epoch": 1, "seconds": 40.0}])
    assert left.seconds(1, 1, 0) == 7 * 10 + 4 * 5
    clock.now += 500  # reading the checkpoint belongs to no batch
    left.start()
    pass_time(clock, 30, left.after_batch, 1, 1)  # with the start of the loading processes
    assert left.seconds(1, 1, 0) == 7 * 10 + 4 * 5
    pass_time(clock, 2, left.after_batch, 1, 2)
    assert left.seconds(1, 2, 0) == 6 * 2 + 4 * 1


@pytest.mark.usefixtures("clock")
def test_nothing_is_divided_by_zero_in_an_empty_run() -> None:
    assert RemainingTime(1, 0, 0, history=[{"epoch": 1}]).after_epoch(1) == "0:00 left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (90061, "25:01:01")]
)
def test_a_duration_is_written_in_minutes_or_hours(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


class Slow(Line):
    """Takes ``BATCH_S`` seconds per training batch and ``VALIDATION_S`` per validation batch."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        self.clock.now += BATCH_S
        return super().loss(model, batch)

    def scores(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.clock.now += VALIDATION_S
        return super().scores(model, batch)


def figures(events: list[Event]) -> list[str]:
    """Return the remaining time of every step."""
    return [event.figures["run"] for event in events if isinstance(event, Step)]


def test_every_step_of_a_training_tells_the_remaining_time_of_the_run(tmp_path: Path, clock: Clock) -> None:
    events: list[Event] = []
    run(tmp_path, Slow(clock), report=events.append, epochs=2)
    first = [f"{format_duration(BATCH_S * left + BATCH_S / 2 * 4)} left" for left in (7, 6, 5, 4)]
    checked = [f"{format_duration(BATCH_S * BATCHES + VALIDATION_S * left)} left" for left in (3, 2)]
    second = [f"{format_duration(BATCH_S * left + VALIDATION_S * VAL_BATCHES)} left" for left in (3, 2, 1, 0)]
    assert figures(events) == [*first, *checked, *second, "0:04 left", "0:00 left"]
    assert [event.title for event in events if isinstance(event, Stage)][1] == "validation"
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "  run 0:48 left  " in f"{notes[0]}  "
    assert "left" not in notes[1]  # nothing is left


def test_a_resumed_training_tells_the_remaining_time_from_its_first_batch(tmp_path: Path, clock: Clock) -> None:
    run(tmp_path, Slow(clock), epochs=1)
    events: list[Event] = []
    run(tmp_path, Slow(clock), report=events.append, epochs=3, resume=True)
    assert len(figures(events)) == 2 * (BATCHES + VAL_BATCHES)
    second = BATCH_S * 6 + BATCH_S / 2 * 4
    assert figures(events)[1] == f"{format_duration(second)} left"
