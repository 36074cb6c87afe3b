"""``cvkit train-saliency`` as the shell runs it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvkit.engine import checkpoint
from cvkit.engine.training import fit
from cvkit.engine.training.checkpoints import Checkpoints
from cvkit.tasks.saliency.predictor import SaliencyPredictor

from .conftest import TINY, Run


def test_a_run_leaves_its_folder(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    words = ("--epochs", 2, "--batch-size", 3, "--out", "r", "--json")
    ended = run("train-saliency", "--data", fixation_data, *TINY, *words)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result["training_images"] == 6
    assert result["validation_images"] == 3
    assert {"val_cc", "val_sim", "val_kl", "val_nss", "val_auc_judd", "val_loss"} <= set(result["best"])
    folder = tmp_path / "r"
    pictures = ("curves.png", "samples/best.png", "samples/latest.png")
    for name in ("config.json", "history.csv", "last.pt", "best.pt", *pictures):
        assert (folder / name).stat().st_size > 0, name
    settings = json.loads((folder / "config.json").read_text())
    assert settings["size"] == [64, 96]
    assert settings["resolved"]["loss"] == "kl-cc-nss"
    with Image.open(folder / "samples" / "best.png") as sheet:
        assert np.asarray(sheet).std() > 10  # something is drawn
    predictor = SaliencyPredictor.from_metadata(checkpoint.load(folder / "best.pt", "saliency"))
    assert predictor.size == (64, 96)


def test_the_settings_of_a_run_and_its_splits_are_shown_before_it_starts(
    run: Run, fixation_data: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    splits = {"train": "fold1", "val": "holdout"}
    rows = ["image,map,split"]
    for old, new in splits.items():
        for path in sorted((fixation_data / "images" / old).iterdir()):
            rows.append(f"{path},{fixation_data}/maps/{old}/{path.name},{new}")
    rows += [rows[-1].replace("holdout", "test"), rows[-1].replace("holdout", "other")]
    manifest.write_text("\n".join(rows))
    words = ("train-saliency", "--data", manifest, *TINY, "--train-split", "fold1", "--val-split", "holdout")
    ended = run(*words, "--epochs", 1, "--freeze", 1, "--out", "r", "--samples", 0)
    assert ended.code == 0, ended.err
    lines = ended.err.splitlines()
    block = lines[lines.index("training") + 1 : lines.index("training") + 17]
    assert [line[17:] for line in block] == [
        str(manifest),
        "6 images, split fold1",
        "3 images, split holdout",
        "test (1 image), other (1 image)",
        "64x96 pixels, kept in memory, augmentation flip",
        "mlnet",
        "timm:test_resnet",
        "random",
        "544,081, all of them trained",
        "kl-cc-nss",
        "0.0001 (head), 0.0001 (backbone, frozen for 1 epoch)",
        "8",
        "cpu",
        "fp32",
        "1, adamw, cosine schedule",
        "r",
    ]
    assert "warning: the split other (1 image) is not used." in ended.err


def test_the_picture_of_the_best_weights_is_there_before_best_pt(
    run: Run, fixation_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = []
    save_best = Checkpoints.save_best

    def save_and_look(self: Checkpoints, row: dict[str, Any]) -> None:
        pictures.append((tmp_path / "r/samples/best.png").is_file())
        save_best(self, row)

    monkeypatch.setattr(Checkpoints, "save_best", save_and_look)
    ended = run("train-saliency", "--data", fixation_data, *TINY, "--epochs", 2, "--samples", 1, "--out", "r")
    assert ended.code == 0, ended.err
    assert pictures and all(pictures)


def test_a_resumed_run_draws_the_missing_picture_of_the_best_weights(
    run: Run, fixation_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "best_epoch", lambda _history, _metric: 1)  # not the last one, whose weights last.pt has
    words = ("--data", fixation_data, *TINY, "--epochs", 2, "--samples", 1, "--out", "r")
    assert run("train-saliency", *words).code == 0
    best, latest = (tmp_path / f"r/samples/{name}.png" for name in ("best", "latest"))
    before = best.read_bytes()
    assert before != latest.read_bytes()
    best.unlink()
    ended = run("resume", "r")
    assert ended.code == 0, ended.err
    assert best.read_bytes() == before


def test_the_default_folder_counts_up(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        ended = run("train-saliency", "--data", fixation_data, *TINY, "--epochs", 1, "--samples", 0, "-q")
        assert ended.code == 0, ended.err
        assert (tmp_path / f"runs/train-saliency/mlnet-{number}/best.pt").is_file()


def test_a_killed_run_resumes_bit_identical(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    words = ["train-saliency", "--data", str(fixation_data), *TINY, "--epochs", "3", "--batch-size", "2"]
    words += ["--augment", "full"]
    assert run(*words, "--out", "whole").code == 0
    command = [sys.executable, "-m", "cvkit", *words, "--out", "parts"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "parts/last.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "`cvkit resume parts`" in said
    ended = run(*words, "--out", "parts", "--resume")
    assert ended.code == 0, ended.err
    one, other = (checkpoint.load(tmp_path / name / "last.pt", "training-state") for name in ("whole", "parts"))
    assert all((one["model"][name] == other["model"][name]).all() for name in one["model"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_to_the_whole_job_leaves_the_workers_to_finish(
    fixation_data: Path, tmp_path: Path, number: int, code: int
) -> None:
    words = ["train-saliency", "--data", str(fixation_data), *TINY[:-1], "2", "--epochs", "500", "--out", "r"]
    command = [sys.executable, "-m", "cvkit", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / "r/last.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said


def test_two_processes_train_one_model(fixation_data: Path, tmp_path: Path) -> None:
    words = ["train-saliency", "--data", str(fixation_data), *TINY, "--epochs", "1", "--devices", "2"]
    command = [sys.executable, "-m", "cvkit", *words, "--device", "cpu", "--out", "r", "--json", "--batch-size", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["validation_images"] == 3
    with (tmp_path / "r/history.csv").open() as stream:
        row = next(csv.DictReader(stream))
    assert int(row["step"]) == 2  # three images for each process, in batches of two


@pytest.mark.slow
def test_two_processes_stop_together_and_resume_bit_identical(fixation_data: Path, tmp_path: Path) -> None:
    words = [
        "train-saliency",
        "--data",
        str(fixation_data),
        *TINY,
        "--batch-size",
        "1",
        "--epochs",
        "7",
        "--samples",
        "0",
    ]
    command = [sys.executable, "-m", "cvkit", *words, "--devices", "2", "--device", "cpu", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "parts"], stderr=subprocess.PIPE, text=True, env=environment)
    while not (tmp_path / "parts/last.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # to one of the two
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert "Traceback" not in said
    for folder in (["whole"], ["parts", "--resume"]):
        ended = subprocess.run([*command, *folder], capture_output=True, text=True, env=environment, check=False)
        assert ended.returncode == 0, ended.stderr
    one, other = (checkpoint.load(tmp_path / name / "last.pt", "training-state") for name in ("whole", "parts"))
    assert all((one["model"][name] == other["model"][name]).all() for name in one["model"])


def test_resume_refuses_other_settings(run: Run, fixation_data: Path) -> None:
    assert run("train-saliency", "--data", fixation_data, *TINY, "--epochs", 1, "--out", "r").code == 0
    ended = run("train-saliency", "--data", fixation_data, *TINY, "--epochs", 2, "--out", "r", "--resume", "--lr", 0.1)
    assert ended.code == 1
    assert "--lr was from the model and its weights, is 0.1" in ended.err
    again = run("train-saliency", "--data", fixation_data, *TINY, "--epochs", 1, "--out", "r")
    assert again.code == 1
    assert "already holds a run" in again.err


def test_bad_files_are_listed_and_strict_refuses_them(run: Run, fixation_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(fixation_data, data)
    names = sorted(path.stem for path in (data / "images/train").iterdir())
    truncated = data / f"images/train/{names[0]}.png"
    truncated.write_bytes(truncated.read_bytes()[:900])
    (data / f"images/train/{names[1]}.png").write_text("not an image")
    Image.new("L", (50, 50), 9).save(data / f"maps/train/{names[2]}.png")
    Image.new("L", (128, 96)).save(data / f"maps/train/{names[3]}.png")
    (data / f"images/val/{names[0]}.png").write_bytes((data / f"images/train/{names[5]}.png").read_bytes())
    twice = sorted((data / "images/val").iterdir())[-1]  # has a map, unlike the one above
    twice.write_bytes((data / f"images/train/{names[5]}.png").read_bytes())
    ended = run("train-saliency", "--data", data, *TINY, "--epochs", 1, "--out", "r", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["training_images"] == 2
    assert json.loads(ended.out)["problems"] == 5
    for said in ("unreadable: 2", "damaged image", "not an image (text)", "wrong size: 1", "empty map: 1"):
        assert said in ended.err
    assert "images without a map or fixations: 1" in ended.err
    assert "1 image is in both training and validation" in ended.err and f"{names[5]}.png and {twice}" in ended.err
    strict = run("train-saliency", "--data", data, *TINY, "--epochs", 1, "--out", "s", "--strict")
    assert strict.code == 1
    assert "--strict" in strict.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--data", "."), "looked for images/ with maps/"),
        (("--model", "mlnett"), "Did you mean 'mlnet'?"),
        (("--size", "240"), "write height x width"),
        (("--size", "8x8"), "needs 32 pixels per side"),
        (("--backbone", "resnet181"), "resnet18"),
        (("--backbone", "resnet18", "--model", "salgan"), "--backbone"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
        (("--loss", "mse"), "--loss"),
        (("--alpha", "1"), "--alpha must be above 1"),
        (("--lr", "0"), "--lr must be above 0"),
        (("--device", "cuda:99"), "--device cuda"),
        (("--precision", "fp16", "--device", "cpu"), "bf16"),
        (("--batch-size", "many"), "--batch-size"),
        (("--resume",), "--resume needs --out"),
        (
            ("--save-every", "0min"),
            "--save-every '0min': write minutes or optimiser steps",
        ),
        (("--freeze", "all"), "--freeze"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_bad_words_get_one_clear_line(run: Run, fixation_data: Path, words: tuple[str, ...], said: str) -> None:
    base = ["train-saliency", "--epochs", "1"]
    if "--data" not in words:
        base += ["--data", str(fixation_data)]
    if "--weights" not in words:
        base += ["--weights", "none"]
    ended = run(*base, *words)
    assert ended.code in (1, 2)
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("error:")]) == 1


def test_a_signal_while_the_data_is_read_ends_with_75(
    run: Run, fixation_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvkit.tasks.saliency.data import dataset

    read = dataset.read_sample

    def signalled(*words: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return read(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(dataset, "read_sample", signalled)
    words = ("train-saliency", "--data", fixation_data, *TINY, "--epochs", 1, "--out", "r")
    ended = run(*words)
    assert ended.code == 75
    assert "before training began" in ended.err
    monkeypatch.setattr(dataset, "read_sample", read)
    assert run(*words).code == 0
