"""Check ``cvkit resume``, which continues a run with its own settings."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cvkit.cli.console import Console
from cvkit.engine import checkpoint, locks
from cvkit.progress import Event

from .conftest import TINY, Outcome, Run

TIMES = {"seconds", "waited", "images_per_second", "busy"}  # differ from run to run
Interrupt = Callable[..., Outcome]


@pytest.fixture
def interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Return a function that runs a command and sends it SIGTERM after its first epoch."""
    report = Console.report

    def interrupt(self: Console, event: Event) -> None:
        report(self, event)
        if str(getattr(event, "text", "")).startswith("epoch 1:"):
            os.kill(os.getpid(), signal.SIGTERM)

    def start(*words: object) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(Console, "report", interrupt)
            ended = run(*words)
        assert ended.code == 75, ended.err
        return ended

    return start


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in TIMES}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def assert_same(one: Any, other: Any) -> None:
    """Compare two training states bit by bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for part, same in zip(one, other, strict=True):
            assert_same(part, same)
    else:
        assert one == other


def assert_same_state(one: str, other: str) -> None:
    states = [without_times(checkpoint.load(Path(name, "last.pt"), "training-state")) for name in (one, other)]
    assert states[0]["state"]["epoch"] == 3
    assert_same(*states)


def saliency(data: Path) -> list[object]:
    words = ["train-saliency", "--data", data, *TINY, "--epochs", 3, "--batch-size", 2, "--samples", 0]
    return [*words, "--augment", "full", "--ema", 0.5, "--device", "cpu"]


def classifier(data: Path) -> list[object]:
    words = ["train-classifier", "--data", data, "--model", "lenet5", "--epochs", 3, "--batch-size", 16, "--limit", 33]
    return [*words, "--samples", 1, "--device", "cpu"]


def autoencoder(data: Path) -> list[object]:
    words = ["cae-embed", "--data", data, "--widths", "4,8", "--epochs", 3, "--batch-size", 16, "--compare", "none"]
    return [*words, "--denoise", "--dropout", 0.2, "--device", "cpu"]


@pytest.mark.parametrize(("words", "data"), [(saliency, "fixation_data"), (autoencoder, "digits")])
def test_an_interrupted_run_ends_bit_identical_to_a_whole_one(
    run: Run, interrupted: Interrupt, request: pytest.FixtureRequest, words: Callable[..., list[object]], data: str
) -> None:
    command = words(request.getfixturevalue(data))
    assert run(*command, "--out", "whole").code == 0
    assert "cvkit resume parts" in interrupted(*command, "--out", "parts").err
    ended = run("resume", "parts", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)
    assert_same_state("whole", "parts")


def test_the_data_may_have_moved(run: Run, interrupted: Interrupt, fixation_data: Path) -> None:
    shutil.copytree(fixation_data, "before")
    assert run(*saliency(Path("before")), "--out", "whole").code == 0
    interrupted(*saliency(Path("before")), "--out", "parts")
    Path("before").rename("after")
    missing = run("resume", "parts")
    assert missing.code == 1 and "before: no such folder" in missing.err
    ended = run("resume", "parts", "--data", "after")
    assert ended.code == 0, ended.err
    assert_same_state("whole", "parts")


def test_a_run_may_be_made_longer(run: Run, trained: Path) -> None:
    shutil.copytree(trained, "r")
    assert run("resume", "r", "--epochs", 3).code == 0
    assert checkpoint.load(Path("r/last.pt"), "training-state")["state"]["epoch"] == 3
    assert json.loads(Path("r/config.json").read_text())["epochs"] == 3


def test_a_config_that_does_not_name_its_command_is_recognised(run: Run, trained: Path) -> None:
    """Runs made before ``config.json`` named the command continue as well."""
    shutil.copytree(trained, "r")
    settings = json.loads(Path("r/config.json").read_text())
    del settings["command"]
    Path("r/config.json").write_text(json.dumps(settings))
    ended = run("resume", "r", "--epochs", 3)
    assert ended.code == 0, ended.err
    assert json.loads(Path("r/config.json").read_text())["command"] == "train-saliency"


def test_resume_and_out_still_continue_a_run(run: Run, interrupted: Interrupt, fixation_data: Path) -> None:
    words = saliency(fixation_data)
    assert run(*words, "--out", "whole").code == 0
    interrupted(*words, "--out", "parts")
    ended = run(*words, "--out", "parts", "--resume")
    assert ended.code == 0, ended.err
    assert_same_state("whole", "parts")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "r is not a run folder: it has no config.json"),
        ("[1]", "does not hold the settings of a run"),
        ("{", "r/config.json"),
        ('{"command": "train-detector"}', "is of `cvkit train-detector`, whose runs this version cannot continue"),
        ('{"command": [1]}', "does not say which command started the run"),
        ('{"command": null}', "does not say which command started the run"),
        ("[" * 100_000, "r/config.json cannot be read as JSON"),
        ('{"seed": ' + "9" * 5000 + "}", "r/config.json cannot be read as JSON"),
        (
            '{"command": "train-saliency", "data": "d", "lr": {}}',
            "r/config.json: lr {} is not a number",
        ),
        ('{"command": "cae-embed", "data": "d", "size": [1]}', "r/config.json: size needs 2 values, not 1"),
        ('{"model": "mlnet", "fix": 1}', "does not say which command started the run"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(run: Run, document: str | None, said: str) -> None:
    Path("r").mkdir()
    if document is not None:
        Path("r/config.json").write_text(document)
    ended = run("resume", "r")
    assert ended.code in (1, 2)
    assert said in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1


def test_a_run_without_a_checkpoint_is_refused(run: Run, trained: Path) -> None:
    shutil.copytree(trained, "r")
    Path("r/last.pt").unlink()
    Path("r/last.prev.pt").unlink()
    ended = run("resume", "r")
    assert ended.code == 1 and "nothing to resume" in ended.err


@pytest.mark.parametrize(
    ("words", "data"), [(saliency, "fixation_data"), (classifier, "digits"), (autoencoder, "digits")]
)
def test_one_command_starts_a_run_and_continues_it(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    words: Callable[..., list[object]],
    data: str,
) -> None:
    command = [*words(request.getfixturevalue(data)), "--epochs", 1, "--out", "r", "--resume"]
    ended = run(*command)
    assert ended.code == 0 and "resuming" not in ended.err, ended.err
    monkeypatch.setattr(locks, "WAIT_S", 0.0)
    with locks.sole_writer(Path("r")):
        refused = run(*command)
    assert refused.code == 1 and "r is being written by process" in refused.err
    written = {path: path.read_bytes() for path in (Path("r/history.csv"), Path("r/curves.png"), Path("r/best.pt"))}
    for path in written:
        path.unlink()
    Path("r/.cvkit-0123abcd-1-abcdefgh.tmp").touch()  # of a process on another machine
    ended = run(*command)
    assert ended.code == 0 and "resuming after epoch 1" in ended.err, ended.err
    assert Path("r/history.csv").read_bytes() == written[Path("r/history.csv")]
    assert Path("r/curves.png").is_file() and Path("r/best.pt").is_file()
    assert not list(Path("r").glob(".cvkit-*"))


def test_other_data_is_not_resumed_and_the_difference_is_named(run: Run, trained: Path, fixation_data: Path) -> None:
    shutil.copytree(trained, "r")
    before = {path.name: path.read_bytes() for path in Path("r").iterdir() if path.is_file()}
    shutil.copytree(fixation_data, "other")
    images = sorted(Path("other/images/train").iterdir())
    first, second = images[0].read_bytes(), images[1].read_bytes()
    images[0].write_bytes(second)
    images[1].write_bytes(first)
    ended = run("resume", "r", "--data", "other")
    assert ended.code == 1
    assert "r was started with other images or another split (as many images, with other content" in ended.err
    images[0].unlink()
    ended = run("resume", "r", "--data", "other")
    assert ended.code == 1 and "(6 train images then, 5 now)" in ended.err
    assert {path.name: path.read_bytes() for path in Path("r").iterdir() if path.is_file()} == before


def test_the_checkpoint_of_another_run_is_not_resumed(run: Run, trained: Path) -> None:
    shutil.copytree(trained, "r")
    content = checkpoint.load(Path("r/last.pt"), "training-state")
    content["settings"]["seed"], content["data"]["data_sha256"] = 7, "other"
    checkpoint.save(Path("r/last.pt"), "training-state", content)
    ended = run("resume", "r")
    assert ended.code == 1
    assert "r/last.pt belongs to another run (seed was 7, is 0; as many images, with other content" in ended.err
