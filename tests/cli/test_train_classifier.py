"""Check ``cvkit train-classifier``: its run folder, its scores, exact resume, and runs as models of other commands."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvkit import render
from cvkit.engine import checkpoint
from cvkit.engine.training.trainer import Trainer
from cvkit.tasks.classification import scoring

from .conftest import Run, blobs
from .test_resume import assert_same, without_times

NETWORK = ("--model", "timm:test_resnet", "--weights", "none", "--input-size", 32, "--device", "cpu")
FILES = {
    *("config.json", "splits.csv", "history.csv", "curves.png", "samples/best.png", "samples/latest.png"),
    *("metrics.json", "report.csv", "confusion.png", "reliability.png", "mistakes.png", "last.pt", "best.pt"),
}


def paths_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if ".cvkit" not in path.name}


def words_for(data: object, *words: object) -> list[object]:
    return ["train-classifier", "--data", data, *NETWORK, "--workers", 0, "--batch-size", 4, "--samples", 2, *words]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def _quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the charts, which take most of the time of a small run."""
    monkeypatch.setattr(render, "curves", lambda *_args, **_more: b"")
    for name in ("confusion_chart", "reliability_diagram"):
        monkeypatch.setattr(scoring, name, lambda *_args, **_more: b"")


quick = pytest.mark.usefixtures("_quick_pictures")


def test_a_run_leaves_scores_and_pictures(classified: Path) -> None:
    names = {str(path.relative_to(classified)) for path in paths_in(classified) if path.is_file()}
    assert names >= FILES
    assert all((classified / name).stat().st_size for name in FILES)
    history = rows_of(classified / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert {"train_loss", "val_loss", "val_accuracy", "lr"} <= history[0].keys()
    metrics = json.loads((classified / "metrics.json").read_text())
    assert {name: scores["images"] for name, scores in metrics.items()} == {"train": 20, "val": 8, "test": 8}
    best = max(float(row["val_accuracy"]) for row in history)
    assert metrics["val"]["accuracy"] == pytest.approx(best)
    assert metrics["val"].keys() >= {"accuracy", "top5_accuracy", "ci95", "ece", "macro_f1"}
    report = rows_of(classified / "report.csv")  # of the test images
    assert [(row["label"], row["count"]) for row in report] == [("ant", "3"), ("bee", "3"), ("cat", "2")]


def test_the_config_records_what_was_resolved(classified: Path) -> None:
    document = json.loads((classified / "config.json").read_text())
    resolved = document["resolved"]
    assert document["command"] == "train-classifier" and resolved["classes"] == ["ant", "bee", "cat"]
    assert resolved["epochs" if document["epochs"] is None else "optimizer"] == "adamw"
    assert resolved["preprocessing"]["crop"] == [32, 32] and resolved["weights_file"] == "random"
    assert (resolved["train"], resolved["val"]) == (20, 8) and len(resolved["data_sha256"]) == 64


@quick
def test_the_splits_of_a_run_are_a_manifest(run: Run, classified: Path) -> None:
    splits = rows_of(classified / "splits.csv")
    assert len(splits) == 36 and {row["split"] for row in splits} == {"train", "val", "test"}
    assert all(Path(row["image"]).is_file() and Path(row["image"]).parent.name == row["label"] for row in splits)
    shutil.copy(classified / "splits.csv", "m.csv")
    ended = run(*words_for("m.csv", "--epochs", 1, "--out", "r", "--json"))
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"] == {"train": 20, "val": 8, "test": 8}
    assert (
        json.loads(Path("r/config.json").read_text())["resolved"]["data_sha256"]
        == (json.loads((classified / "config.json").read_text())["resolved"]["data_sha256"])
    )


def test_the_scores_of_a_run_are_those_of_classify(run: Run, pets: Path, classified: Path) -> None:
    metrics = json.loads((classified / "metrics.json").read_text())
    for split in ("train", "val", "test"):
        words = ("--model", classified, "--truth", "folders", "--device", "cpu", "--json")
        document = json.loads(run("classify", pets / split, *words).out)
        accuracy = document["accuracy"]["top1"]
        assert accuracy["value"] == pytest.approx(metrics[split]["accuracy"])
        assert [accuracy["low"], accuracy["high"]] == pytest.approx(metrics[split]["ci95"])
        true = [row for row in document["rows"] if row["label"] == Path(row["image"]).parent.name]
        log_loss = -np.mean([np.log(row["probability"]) for row in true])
        assert log_loss == pytest.approx(metrics[split]["log_loss"], rel=1e-4)


def test_a_run_is_a_model_of_other_commands(run: Run, pets: Path, classified: Path) -> None:
    shown = json.loads(run("models", "show", classified, "--json").out)
    assert shown["labels"] == ["ant", "bee", "cat"] and shown["classes"] == 3 and shown["size"] == [32, 32]
    assert shown["preprocessing"]["mean"] == [0.4, 0.5, 0.6] and shown["preprocessing"]["crop"] == [32, 32]
    image = pets / "val/bee/0.png"
    ended = run("gradcam", image, "--model", classified, "--class", "bee", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    ended = run("export", classified, "--format", "safetensors", "--out", "pets.safetensors")
    assert ended.code == 0, ended.err
    words = ("--device", "cpu", "--json", "--top", 3)
    rows = [json.loads(run("classify", image, "--model", ref, *words).out) for ref in (classified, "pets.safetensors")]
    values = [[(row["label"], row["probability"]) for row in document["rows"]] for document in rows]
    assert [name for name, _ in values[0]] == [name for name, _ in values[1]]
    assert [p for _, p in values[0]] == pytest.approx([p for _, p in values[1]], rel=1e-4)


@quick
def test_a_network_for_grey_images_classifies_files(run: Run, digits: Path) -> None:
    words = ("--model", "basic-cnn", "--input-size", 12, "--device", "cpu", "--epochs", 1, "--samples", 2)
    ended = run("train-classifier", "--data", digits, *words, "--test", "--out", "grey", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"] == {"train": 81, "val": 9, "test": 33}
    images, labels = blobs(33, 33)  # those of the fixture
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Path("test", str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(f"test/{label}/{number:02d}.png")
    document = json.loads(run("classify", "test", "--model", "grey", "--truth", "folders", "--json").out)
    metrics = json.loads(Path("grey/metrics.json").read_text())
    assert document["accuracy"]["top1"]["value"] == pytest.approx(metrics["test"]["accuracy"])


def test_test_images_are_needed_to_test(run: Run, pets: Path, tmp_path: Path) -> None:
    shutil.copytree(pets, "d")
    shutil.rmtree("d/test")
    ended = run(*words_for("d", "--test", "--out", "r"))
    assert ended.code == 1 and "add a third part to --split, such as 75/15/10" in ended.err
    assert not (tmp_path / "r").exists()


@quick
def test_a_split_is_drawn_and_recorded(run: Run, pets: Path) -> None:
    ended = run(*words_for(pets / "train", "--split", "60/20/20", "--epochs", 1, "--test", "--out", "r", "--json"))
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"] == {"train": 12, "val": 4, "test": 4}
    assert "ant  train 5, val 2, test 2" in ended.err
    assert len(rows_of(Path("r/splits.csv"))) == 20


VARIANTS: dict[str, tuple[object, ...]] = {
    # Trains the last layer for one epoch, then the upper half; stopped after that.
    "transfer": ("--recipe", "transfer", "--unfreeze-at", 1, "--lr", 0.01, "--balance", "sampler", "--input-size", 32),
    "modern": ("--recipe", "modern", "--balance", "loss", "--warmup-epochs", 0, "--layer-decay", 0.8),
    "features": ("--freeze", "backbone", "--no-flip", "--crop-scale", 1, "--balance", "sampler", "--ema", 0.9),
}


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Send SIGTERM to this process after a number of batches."""
    train_batch: Callable[..., Any] = Trainer.train_batch
    done: list[int] = []

    def counted(self: Trainer, *words: Any) -> Any:
        done.append(1)
        if len(done) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_batch(self, *words)

    monkeypatch.setattr(Trainer, "train_batch", counted)


@quick
@pytest.mark.parametrize("name", VARIANTS)
def test_a_stopped_run_ends_bit_identical(run: Run, pets: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # lenet5 is quicker, but has no batch norms.
    network = ("--model", "timm:test_resnet" if name == "transfer" else "lenet5", "--weights", "none", "--samples", 0)
    base = ("train-classifier", "--data", pets, *network, "--device", "cpu", "--workers", 0, "--batch-size", 4)
    words = (*base, "--epochs", 3, *VARIANTS[name])
    whole = run(*words, "--out", "whole")
    assert whole.code == 0, whole.err
    assert ("the frozen layers ran once" in whole.err) == (name == "features")
    with monkeypatch.context() as patch:
        stop_at(patch, 8)  # of 15 batches, in the second epoch
        ended = run(*words, "--out", "parts")
    assert ended.code == 75 and "stopped by a signal after 1 epochs" in ended.err, ended.err
    ended = run("resume", "parts")
    assert ended.code == 0 and "resuming after epoch 1, batch " in ended.err, ended.err
    states = [without_times(checkpoint.load(Path(each, "last.pt"), "training-state")) for each in ("whole", "parts")]
    assert_same(*states)
    for each in ("metrics.json", "report.csv", "splits.csv"):
        assert Path("whole", each).read_bytes() == Path("parts", each).read_bytes()
    best = [checkpoint.load(Path(each, "best.pt"), "classifier")["weights"] for each in ("whole", "parts")]
    assert_same(*best)


@quick
def test_a_run_stopped_while_it_is_scored_is_scored_when_it_is_resumed(
    run: Run, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvkit.commands.train_classifier import finishing

    score_images = finishing.score_images

    def stopping(*words: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return score_images(*words)

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "score_images", stopping)
        ended = run(*words_for(pets, "--epochs", 1, "--out", "r"))
    assert ended.code == 75 and "the training is complete: `cvkit resume r` scores it" in ended.err, ended.err
    assert not Path("r/metrics.json").exists()
    ended = run("resume", "r")
    assert ended.code == 0, ended.err
    assert json.loads(Path("r/metrics.json").read_text()).keys() == {"train", "val"}
