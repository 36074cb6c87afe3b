"""Test ``--runtime`` and ``--compile`` of the inference commands."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.models import runtimes
from cvkit.tasks.classification import specification

from .conftest import Run

SIZES = ((60, 80), (100, 50), (64, 96))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a classifier of three classes."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "three.pth"
    torch.save(specification.make("timm:resnet10t", 3).state_dict(), path)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def words_of(command: str, trained: Path, weights: Path) -> list[str]:
    if command == "predict":
        return ["--model", str(trained), "--format", "npy"]
    return [
        "--model",
        "timm:resnet10t",
        "--weights",
        str(weights),
        *(["--save", "npy"] if command == "gradcam" else []),
    ]


@pytest.mark.parametrize("command", ["predict", "classify", "gradcam"])
def test_both_runtimes_give_the_same_results(
    command: str, run: Run, photos: Path, trained: Path, weights: Path
) -> None:
    words = (command, photos, *words_of(command, trained, weights))
    # auto, with few images and no graph in the cache yet
    ended = run(*words, "--out", "torch")
    assert ended.code == 0 and "onnxruntime" not in ended.err, ended.err
    ended = run(*words, "--runtime", "onnx", "--out", "onnx")
    assert ended.code == 0 and "runs in onnxruntime; --runtime torch selects PyTorch" in ended.err, ended.err
    assert ("timm:resnet10t up to " in ended.err) == (command == "gradcam")
    assert "exporting" in ended.err
    results = {name: rows(Path(name, "results.csv")) for name in ("torch", "onnx")}
    for one, other in zip(results["torch"], results["onnx"], strict=True):
        for column in one.keys() & {"image", "rank", "class_index", "map", "npy"}:
            assert one[column] == other[column]
        if "probability" in one:
            assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-5)
        if name := one.get("npy") or one.get("map"):
            maps = [np.load(Path(folder, name)) for folder in results]
            assert maps[0].max() > 0 and np.abs(maps[0] - maps[1]).max() <= 1e-3
    # auto, with the graph in the cache
    ended = run(*words, "--out", "again")
    assert "exporting" not in ended.err and "runs in onnxruntime" in ended.err
    assert rows(Path("again/results.csv")) == results["onnx"]
    assert "onnxruntime" not in run(*words, "--runtime", "torch", "--out", "plain").err
    assert rows(Path("plain/results.csv")) == results["torch"]
    # The runtime is no setting of the results: the folder is complete.
    counts = json.loads(run(*words, "--runtime", "torch", "--out", "onnx", "--json").out)
    assert counts.get("batch", counts)["counts"]["skipped"] == len(SIZES)


def test_evaluate_runs_the_model_in_onnxruntime(run: Run, fixation_data: Path, trained: Path) -> None:
    means = []
    for runtime in ("torch", "onnx"):
        ended = run("evaluate", "--data", fixation_data, "--model", trained, "--runtime", runtime, "--json")
        means.append(json.loads(ended.out)["scores"]["model"]["cc"]["mean"])
        assert ("onnxruntime" in ended.err) == (runtime == "onnx")
    assert means[0] == pytest.approx(means[1], abs=1e-5)


def test_many_images_repay_the_export(
    run: Run, photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CVKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtimes, "MIN_IMAGES", len(SIZES))
    words = ("classify", photos, "--model", "timm:resnet10t", "--weights", weights)
    assert "exporting" in run(*words, "--out", "a").err
    (tmp_path / "other").write_text("a file, where a folder is needed")
    monkeypatch.setenv("CVKIT_CACHE", str(tmp_path / "other"))
    ended = run(*words, "--out", "b")
    assert ended.code == 0 and "the network runs in PyTorch, because onnxruntime cannot run it: " in ended.err
    ended = run(*words, "--out", "c", "--runtime", "onnx")
    assert ended.code == 1 and ended.err.splitlines()[-1].startswith("error: cannot write")


def test_what_onnxruntime_cannot_do_is_refused(run: Run, photos: Path, weights: Path) -> None:
    classify = ("classify", photos, "--model", "timm:resnet10t", "--weights", weights, "--runtime", "onnx")
    gradcam = ("gradcam", *classify[1:])
    for words, message in (
        ((*classify, "--precision", "bf16"), "--runtime onnx computes in fp32: leave out --precision bf16"),
        ((*classify, "--compile"), "--compile is for networks in PyTorch"),
        ((*gradcam, "--method", "scorecam"), "--method scorecam needs the whole network in PyTorch"),
    ):
        ended = run(*words, "--out", "x")
        assert ended.code == 2 and message in ended.err, ended.err
    vit = ("gradcam", photos / "0.png", "--model", "timm:test_vit", "--weights", "none", "--save", "npy", "--out")
    ended = run(*vit, "v", "--runtime", "onnx")
    assert ended.code == 2 and "cannot divide the network at" in ended.err
    assert run(*vit, "w").code == 0


@pytest.mark.parametrize("command", ["predict", "classify"])
def test_the_network_is_compiled_once(
    command: str, run: Run, photos: Path, trained: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    words = (command, photos, *words_of(command, trained, weights))
    assert run(*words, "--compile", "--out", "compiled").code == 0
    assert len(compiled) == 1
    assert run(*words, "--runtime", "torch", "--out", "eager").code == 0
    assert rows(Path("compiled/results.csv")) == rows(Path("eager/results.csv"))
