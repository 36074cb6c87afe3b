"""Test the options for the preprocessing of foreign weights in the commands that open a classifier by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.cli.console import Console, ProgressMode
from cvkit.progress import Note
from cvkit.tasks.classification import specification

from .conftest import Run

MODEL = "timm:test_efficientnet"
SETTINGS = ("--mean", "0.5", "--std", "0.5", "--input-size", "96", "--crop-pct", "1", "--model-arg", "pad_type=same")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, (height, width) in enumerate([(60, 100), (120, 80)]):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    torch.save(specification.make(MODEL, 4).state_dict(), tmp_path / "mine.pth")
    return folder


def test_another_preprocessing_in_the_same_folder_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    words = ("classify", photos, "--model", MODEL, "--weights", "mine.pth", "--out", "o", *SETTINGS)
    ended = run(*words)
    assert ended.code == 0, ended.err
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    assert manifest["settings"]["preprocessing"] == {
        "resize": 96,
        "crop": [96, 96],
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    assert manifest["settings"]["model_args"] == ["pad_type=same"]
    assert manifest["preprocessing_from"] == {
        "mean": "option",
        "std": "option",
        "input_size": "option",
        "interpolation": "assumed",
        "crop_pct": "option",
        "crop_mode": "assumed",
    }
    assert run(*words).code == 0
    for other in (("--mean", "0.4"), ("--crop-mode", "border"), ("--model-arg", "act_layer=relu")):
        refused = run(*words, *other)
        assert refused.code == 1
        assert "o holds results of other settings" in refused.err
    assert "preprocessing" in run(*words, "--mean", "0.4").err


def test_the_assumption_is_printed_once_and_in_bold(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run("classify", photos, "--model", MODEL, "--weights", "mine.pth", "--out", "o")
    assert ended.err.count("is none of the published files") == 1
    assert "\x1b" not in ended.err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = Console(ProgressMode.rich, quiet=False, json_output=False)
    console.report(Note("assumed", level="important"))
    console.report(Note("plain"))
    console.close()
    assert "\x1b[1massumed\x1b[0m" in capsys.readouterr().err


def test_gradcam_and_export_take_the_same_options(run: Run, photos: Path, tmp_path: Path) -> None:
    words = ("--model", MODEL, "--weights", "mine.pth", *SETTINGS, "--crop-mode", "border")
    ended = run("gradcam", photos, *words, "--out", "o")
    assert ended.code == 0, ended.err
    assert (tmp_path / "o/0.rank1.overlay.jpg").is_file()
    ended = run("export", *words, "--format", "safetensors", "--out", "mine.safetensors")
    assert ended.code == 0, ended.err
    before = run("classify", photos, *words, "--out", "a", "--json")
    after = run("classify", photos, "--model", "mine.safetensors", "--out", "b", "--json")
    rows = [
        [(r["image"], r["class_index"], r["probability"]) for r in json.loads(e.out)["rows"]] for e in (before, after)
    ]
    assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]
    assert [row[2] for row in rows[0]] == pytest.approx([row[2] for row in rows[1]], abs=1e-6)
    refused = run("classify", photos, "--model", "mine.safetensors", "--mean", "0.5")
    assert refused.code == 2
    assert "--mean has no effect on mine.safetensors, which has its own preprocessing: leave out --mean." in refused.err


def test_models_show_builds_the_network_with_its_arguments(run: Run) -> None:
    shown = json.loads(run("models", "show", MODEL, "--model-arg", "pad_type=same", "--json").out)
    assert "Conv2dSame" in {layer["kind"] for layer in shown["layers"]}
    assert run("models", "show", "mlnet", "--model-arg", "pad_type=same").code == 2
    assert "Did you mean 'pad_type'" in run("models", "show", MODEL, "--model-arg", "pad_typ=same").err
