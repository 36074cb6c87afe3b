"""Test that a well-formed run folder with wrong values gives one line, not a traceback."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cvkit.engine import checkpoint
from tests.damage import changed, damaged

from . import conftest
from .conftest import Outcome, Run


@pytest.fixture(scope="module")
def autoencoder(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of one epoch."""
    from cvkit.commands.cae_embed import cae_embed
    from cvkit.config import CaeEmbedConfig

    folder = tmp_path_factory.mktemp("runs") / "cae"
    config = CaeEmbedConfig(data=str(digits), widths=(4, 8), epochs=1, device="cpu", compare=("none",), out=str(folder))
    cae_embed(config)
    return folder


def assert_one_line(ended: Outcome, where: object) -> None:
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in ended.err, f"{where}: {ended.err[-2000:]}"
    assert ended.code in (0, 1, 2, 3), where
    assert len(errors) == (ended.code in (1, 2)), f"{where}: {ended.err[-2000:]}"


def mutations(content: dict[str, Any], skipped: Sequence[str] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the changes of a checkpoint: of its weights, those of the first and of the last tensor only."""
    weights = content.get("weights")
    if not isinstance(weights, dict):  # config.json, where this is an option
        return list(damaged(content))
    tensors = [name for name, value in weights.items() if value.ndim]
    few = {name: weights[name] for name in (tensors[0], tensors[-1])}
    kept = {name: value for name, value in content.items() if name not in skipped and name != "weights"}
    whole = ((keys, value) for keys, value in damaged({"weights": few}) if len(keys) != 1 or value is not ...)
    return [*damaged(kept), (("weights",), ...), *whole]


def predict_from_damaged(run: Run, trained: Path, photo: Path, step: int) -> None:
    """Predict from a checkpoint with one wrong value, for every ``step``-th of all changes."""
    content = checkpoint.load(trained / "best.pt", "saliency")
    refused = 0
    for keys, value in mutations(content, skipped=("config", "scores"))[::step]:
        checkpoint.save(Path("best.pt"), "saliency", changed(content, keys, value))
        shutil.rmtree("maps", ignore_errors=True)
        ended = run("predict", photo, "--model", "best.pt", "--out", "maps", "--device", "cpu")
        assert_one_line(ended, (keys, value))
        if ended.code == 1:
            assert "best.pt" in ended.err, (keys, value)
        refused += ended.code in (1, 2)
    assert refused


def embed_from_damaged(run: Run, folder: Path, data: Path, step: int) -> None:
    """Embed with a checkpoint with one wrong value, for every ``step``-th of all changes."""
    content = checkpoint.load(folder / "best.pt", "autoencoder")
    for keys, value in mutations(content, skipped=("config", "scores"))[::step]:
        checkpoint.save(Path("best.pt"), "autoencoder", changed(content, keys, value))
        shutil.rmtree("out", ignore_errors=True)
        ended = run(
            "cae-embed", "--data", data, "--model", "best.pt", "--device", "cpu", "--out", "out", "--compare", "none"
        )
        assert_one_line(ended, (keys, value))


def classify_from_damaged(run: Run, folder: Path, image: Path, step: int) -> None:
    """Classify with a checkpoint with one wrong value, for every ``step``-th of all changes."""
    content = checkpoint.load(folder / "best.pt", "classifier")
    refused = 0
    for keys, value in mutations(content, skipped=("config", "scores"))[::step]:
        checkpoint.save(Path("best.pt"), "classifier", changed(content, keys, value))
        shutil.rmtree("classify", ignore_errors=True)
        ended = run("classify", image, "--model", "best.pt", "--device", "cpu")
        assert_one_line(ended, (keys, value))
        if ended.code in (1, 2):
            assert "best.pt" in ended.err, (keys, value)
        refused += ended.code in (1, 2)
    assert refused


def resume_from_damaged(run: Run, folder: Path, name: str, step: int) -> None:
    """Resume a run with one wrong value in a file, for every ``step``-th of all changes."""
    path = Path("r", name)
    shutil.copytree(folder, "r")
    content = json.loads(path.read_text()) if name.endswith(".json") else torch.load(path, weights_only=True)
    for keys, value in mutations(content)[::step]:
        shutil.rmtree("r")
        shutil.copytree(folder, "r")
        document = changed(content, keys, value)
        if name.endswith(".json"):
            path.write_text(json.dumps(document))
        else:
            torch.save(document, path)
        assert_one_line(run("resume", "r", "--workers", 0), (keys, value))


def test_a_wrong_value_in_a_checkpoint_is_one_line(run: Run, trained: Path, photo: Path) -> None:
    predict_from_damaged(run, trained, photo, 23)


def test_a_wrong_value_in_a_checkpoint_of_a_classifier_is_one_line(run: Run, classified: Path, photo: Path) -> None:
    classify_from_damaged(run, classified, photo, 23)


@pytest.fixture
def _any_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages name options that ``cvkit resume`` lacks: a setting of config.json is called by its option."""
    monkeypatch.setattr(conftest, "unknown_options", lambda *_: set())


@pytest.mark.usefixtures("_any_option")
def test_a_wrong_value_in_a_run_is_one_line(run: Run, autoencoder: Path) -> None:
    resume_from_damaged(run, autoencoder, "config.json", 61)


def test_wrong_weights_in_the_best_checkpoint_of_a_run_are_one_line(run: Run, trained: Path, autoencoder: Path) -> None:
    for folder, kind in ((trained, "saliency"), (autoencoder, "autoencoder")):
        content = checkpoint.load(folder / "best.pt", kind)
        content["weights"].popitem()
        content["epoch"] = 1
        shutil.copytree(folder, kind)
        last = checkpoint.load(folder / "last.pt", "training-state")
        last["state"]["best_epoch"] = 1
        last["state"]["batch"] = last["batches"]  # within an epoch, so that best.pt cannot be written again
        last["state"]["step"] += last["batches"]
        checkpoint.save(Path(kind, "last.pt"), "training-state", last)
        checkpoint.save(Path(kind, "best.pt"), kind, content)
        ended = run("resume", kind, "--workers", 0)
        assert_one_line(ended, kind)
        assert ended.code == 1 and f"{kind}/best.pt does not fit" in ended.err, ended.err


@pytest.mark.slow
def test_each_wrong_value_in_a_checkpoint_is_one_line(run: Run, trained: Path, photo: Path) -> None:
    predict_from_damaged(run, trained, photo, 1)


@pytest.mark.slow
def test_each_wrong_value_in_a_checkpoint_of_an_autoencoder_is_one_line(
    run: Run, autoencoder: Path, digits: Path
) -> None:
    embed_from_damaged(run, autoencoder, digits, 1)


@pytest.mark.slow
def test_each_wrong_value_in_a_checkpoint_of_a_classifier_is_one_line(run: Run, classified: Path, photo: Path) -> None:
    classify_from_damaged(run, classified, photo, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("_any_option")
@pytest.mark.parametrize("name", ["config.json", "best.pt"])
def test_each_wrong_value_in_a_run_of_a_classifier_is_one_line(run: Run, classified: Path, name: str) -> None:
    resume_from_damaged(run, classified, name, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("_any_option")
@pytest.mark.parametrize("name", ["config.json", "last.pt", "best.pt"])
def test_each_wrong_value_in_a_run_of_an_autoencoder_is_one_line(run: Run, autoencoder: Path, name: str) -> None:
    resume_from_damaged(run, autoencoder, name, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("_any_option")
@pytest.mark.parametrize("name", ["config.json", "best.pt"])
def test_each_wrong_value_in_a_run_of_a_saliency_network_is_one_line(run: Run, trained: Path, name: str) -> None:
    resume_from_damaged(run, trained, name, 1)
