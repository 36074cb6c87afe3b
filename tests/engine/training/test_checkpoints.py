"""Test which checkpoint a run resumes from, and that no moment of a kill makes it lose its progress."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cvkit.engine import checkpoint
from cvkit.errors import CvkitError, StoppedBySignal, TrainingError, WeightsError
from cvkit.progress import Event, Note
from tests.damage import changed, damaged

from .line import Line, Points, run, same, weights

TIMES = ("seconds", "images_per_second", "busy")  # differ from run to run
SETTINGS: dict[str, Any] = {"epochs": 2, "ema": 0.9, "save_every": "2steps"}


class Killed(BaseException):
    """Stands for SIGKILL."""


def timeless(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as stream:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]


def assert_same_run(one: Path, other: Path) -> None:
    """Compare everything that two finished runs left, except for times."""
    states = [checkpoint.load(folder / "last.pt", "training-state") for folder in (one, other)]
    best = [checkpoint.load(folder / "best.pt", "line") for folder in (one, other)]
    for name in ("model", "average"):
        assert same(states[0][name], states[1][name])
    for index, values in states[0]["optimizer"]["state"].items():
        assert same(values, states[1]["optimizer"]["state"][index])
    assert same(best[0]["weights"], best[1]["weights"]) and best[0]["epoch"] == best[1]["epoch"]
    assert timeless(one) == timeless(other) != []


def rename_counter(monkeypatch: pytest.MonkeyPatch, fatal: int | None) -> list[str]:
    """Record the names that files get; raise Killed instead of the rename of number ``fatal``."""
    replace = Path.replace
    names: list[str] = []

    def count(self: Path, target: Path) -> Path:
        names.append(Path(target).name)
        if len(names) - 1 == fatal:
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", count)
    return names


def test_a_run_killed_before_any_of_its_files_gets_its_name_is_resumed_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        names = rename_counter(patch, None)
        run(tmp_path / "whole", **SETTINGS)
    assert names.index("last.pt") < names.index("best.pt") < names.index("history.csv")
    for number in range(len(names)):
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            rename_counter(patch, number)
            with pytest.raises(Killed):
                run(folder, **SETTINGS)
        run(folder, resume=True, **SETTINGS)
        assert_same_run(tmp_path / "whole", folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with torch.serialization._open_zipfile_reader(str(path)) as archive:
        record = archive.get_record("archive/data/0" if archive.has_record("archive/data/0") else "data/0")
    content[content.index(bytes(record)) + 1] ^= 4
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, empty, flip, remove])
def test_a_damaged_checkpoint_is_reported_and_the_run_continues_from_the_one_before(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    run(tmp_path / "whole", **SETTINGS)
    folder = tmp_path / "parts"
    run(folder, **{**SETTINGS, "epochs": 1})
    damage(folder / "last.pt")
    previous = (folder / "last.prev.pt").read_bytes()
    notes: list[Event] = []

    def kill(event: Event) -> None:
        notes.append(event)
        if isinstance(event, Note) and event.text.startswith("resuming"):
            raise Killed

    with pytest.raises(Killed):
        run(folder, resume=True, report=kill, **SETTINGS)
    (warning,) = [event for event in notes if isinstance(event, Note) and event.level == "warning"]
    assert "last.pt" in warning.text and "continues from last.prev.pt, the checkpoint before it" in warning.text
    assert (folder / "last.prev.pt").read_bytes() == previous
    result = run(folder, resume=True, **SETTINGS)
    assert len(result.history) == 2
    # The schedule depends on the number of epochs, so the runs agree in the second epoch's counters alone.
    assert [row["step"] for row in timeless(folder)] == [row["step"] for row in timeless(tmp_path / "whole")]


def test_a_damaged_checkpoint_never_replaces_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, **SETTINGS)
    whole = weights(tmp_path)
    flip(tmp_path / "last.pt")
    with monkeypatch.context() as patch:
        names = rename_counter(patch, 0)
        with pytest.raises(Killed):
            run(tmp_path, resume=True, **SETTINGS)
    assert names == ["last.pt"]  # and not last.prev.pt, which is the only good one
    run(tmp_path, resume=True, **SETTINGS)
    assert same(whole, weights(tmp_path))


def test_two_damaged_checkpoints_are_one_clear_error(tmp_path: Path) -> None:
    run(tmp_path, **SETTINGS)
    flip(tmp_path / "last.pt")
    (tmp_path / "last.prev.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"last\.pt: .*damaged.*Nor can .*last\.prev\.pt be used"):
        run(tmp_path, resume=True, **SETTINGS)
    (tmp_path / "last.prev.pt").unlink()
    with pytest.raises(WeightsError, match="There is no checkpoint before it"):
        run(tmp_path, resume=True, **SETTINGS)


def test_files_that_a_kill_after_the_last_checkpoint_left_stale_are_written_again(tmp_path: Path) -> None:
    run(tmp_path / "whole", **SETTINGS)
    run(tmp_path / "parts", **SETTINGS)
    best = (tmp_path / "parts/best.pt").stat().st_mtime_ns
    (tmp_path / "parts/history.csv").write_text("epoch\n1\n")
    run(tmp_path / "parts", resume=True, **SETTINGS)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert (tmp_path / "parts/best.pt").stat().st_mtime_ns == best  # it was whole, and its checksum is recorded


def test_the_best_weights_are_written_again_only_where_the_checkpoint_has_them(tmp_path: Path) -> None:
    settings = {**SETTINGS, "best_metric": "last"}
    run(tmp_path, **settings)
    flip(tmp_path / "best.pt")
    run(tmp_path, resume=True, **settings)
    assert checkpoint.load(tmp_path / "best.pt", "line")["epoch"] == 2
    content = checkpoint.load(tmp_path / "last.pt", "training-state")
    content["state"]["best_epoch"] = 1
    checkpoint.save(tmp_path / "last.pt", "training-state", content)
    (tmp_path / "best.pt").unlink()
    notes: list[Event] = []
    run(tmp_path, resume=True, report=notes.append, **settings)
    assert any("best.pt of epoch 1 is missing or damaged" in getattr(note, "text", "") for note in notes)


def test_a_checkpoint_of_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    data = {"train": 10, "val": 6, "data_sha256": "a"}
    run(tmp_path, identity=data, **SETTINGS)
    with pytest.raises(WeightsError, match=r"last\.pt belongs to another run \(seed was 0, is 1\): restore"):
        run(tmp_path, identity=data, resume=True, **SETTINGS, seed=1)
    with pytest.raises(WeightsError, match=r"belongs to another run \(as many images, with other content"):
        run(tmp_path, identity={**data, "data_sha256": "b"}, resume=True, **SETTINGS)
    run(tmp_path, identity=data, resume=True, **{**SETTINGS, "epochs": 3})


@pytest.mark.parametrize(("interval", "expected"), [("1step", [1, 2, 3, 4, 4]), ("3steps", [3, 4]), ("10min", [4])])
def test_the_interval_between_checkpoints_is_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: str, expected: list[int]
) -> None:
    steps = []
    save = checkpoint.save

    def record(path: Path, kind: str, content: dict[str, Any], keep: Path | None = None) -> None:
        if path.name == "last.pt":
            steps.append(content["state"]["step"])
        save(path, kind, content, keep)

    monkeypatch.setattr(checkpoint, "save", record)
    run(tmp_path, epochs=1, save_every=interval)
    assert steps == expected


def test_checkpoints_are_written_when_their_time_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 31))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    names = rename_counter(monkeypatch, None)
    run(tmp_path, epochs=1, save_every="0.5min")
    assert names.count("last.pt") > 1


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_error_mentions_the_saved_state_only_if_there_is_one(tmp_path: Path, epoch: int) -> None:
    if epoch:
        run(tmp_path, epochs=epoch)
    with pytest.raises(TrainingError, match=r"point-7\.jpg") as caught:
        run(tmp_path, data=Points(bad=7), epochs=2, resume=True)
    assert ("last.pt keeps the last good state" in str(caught.value)) == bool(epoch)


def test_a_batch_norm_with_one_value_per_channel_is_a_clear_error(tmp_path: Path) -> None:
    class Normalised(Line):
        def __init__(self) -> None:
            super().__init__()
            self._model.append(torch.nn.BatchNorm1d(1))

    with pytest.raises(TrainingError, match=r"batch norm cannot train on a single value per channel .* epoch of 10"):
        run(tmp_path, Normalised())  # ten points in batches of three: the last one is alone


def resume_damaged(tmp_path: Path, whole: dict[str, torch.Tensor], content: dict[str, Any]) -> str:
    """Resume from a checkpoint. Return the error, which must be one line, or empty if the run ended as without it."""
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    checkpoint.save(tmp_path / "last.pt", "training-state", content)
    try:
        run(tmp_path, identity={"train": 10, "data_sha256": "a"}, resume=True, **SETTINGS)
    except CvkitError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
        return str(error)
    assert same(whole, weights(tmp_path))
    return ""


def saved_in_the_second_epoch(tmp_path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the weights of a finished run, and its checkpoint in the middle of the second epoch."""
    identity: dict[str, Any] = {"train": 10, "data_sha256": "a"}
    with pytest.raises(StoppedBySignal):
        run(tmp_path, Line(signal_at=6), identity=identity, **SETTINGS)
    content = checkpoint.load(tmp_path / "last.pt", "training-state")
    assert content["state"]["step"] == 6
    run(tmp_path, identity=identity, resume=True, **SETTINGS)
    return weights(tmp_path), content


def test_a_checkpoint_with_a_damaged_value_is_one_clear_error_or_does_no_harm(tmp_path: Path) -> None:
    whole, content = saved_in_the_second_epoch(tmp_path)
    mutations = list(damaged(content))
    refused = 0
    for keys, value in mutations[::29]:
        refused += bool(resume_damaged(tmp_path, whole, changed(content, keys, value)))
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_each_damaged_value_of_a_checkpoint_is_one_clear_error_or_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    monkeypatch.setitem(SETTINGS, "optimizer", optimizer)
    whole, content = saved_in_the_second_epoch(tmp_path)
    harmless = set()
    for keys, value in damaged(content):
        if not resume_damaged(tmp_path, whole, changed(content, keys, value)):
            harmless.add(keys[:2] if keys[0] in ("state", "optimizer") else keys[:1])
    # Numbers that no weight depends on, and values that the settings of this run replace.
    # Without "parts", as in the files of earlier versions, a batch is computed in one part.
    unused = ("loss_sum", "images", "seconds", "waited", "parts", "sums", "history", "best_epoch")
    measures = {("state", name) for name in unused}
    recorded = {("precision",), ("settings",), ("data",), ("kind",), ("cvkit",), ("format",)}
    # Averages in double precision are converted.
    assert harmless <= measures | recorded | {("optimizer", "param_groups"), ("optimizer", "state")}
