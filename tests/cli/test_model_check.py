"""``cvkit models check`` as the shell runs it, with a network that is right under one preprocessing only."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvkit.config import CheckModelConfig, PreprocessingConfig
from cvkit.data.fit import fit_crop
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.loading import load
from cvkit.tasks.classification.selection import Score, select_best
from cvkit.tasks.classification.specification import make
from cvkit.tasks.classification.variants import Variant, base_variant, distinct, stages

from .conftest import Run

MODEL, CLASSES = "timm:test_efficientnet", 4
TRUE = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 0.9, "interpolation": "bilinear"}
GIVEN = ("--input-size", "64")


def logits(folder: Path, variants: list[Variant], images: list[np.ndarray]) -> list[torch.Tensor]:
    classifiers: dict[tuple[str, ...], Classifier] = {}
    results = []
    for variant in variants:
        arguments = variant.options.model_arg
        if arguments not in classifiers:
            given = PreprocessingConfig(input_size=(64, 64), model_arg=arguments)
            loaded = load(MODEL, str(folder / "mine.pth"), options=given)
            classifiers[arguments] = loaded.to(torch.device("cpu"), "fp32")
        steps = variant.preprocessing
        pixels = torch.stack([fit_crop(image, steps)[0] for image in images]).float() / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (steps.mean, steps.std))
        with torch.inference_mode():
            results.append(classifiers[arguments].network((pixels - mean) / std))
    return results


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, and images in class folders whose classes are those that the network gives under one preprocessing.

    Of many images, those are kept of which the network is sure, and to which other preprocessings give another class
    most often.
    """
    folder = tmp_path_factory.mktemp("foreign")
    draws = np.random.default_rng(0)
    images = []
    for _ in range(120):
        blocks = Image.fromarray(draws.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((100, 75))
        noise = draws.integers(-90, 91, (75, 100, 3))  # by which interpolations differ
        images.append((np.asarray(blocks) + noise).clip(0, 255).astype(np.uint8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = make(MODEL, CLASSES)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value *= 0.01  # so that the epsilon of batch norms matters
    torch.save(network.state_dict(), folder / "mine.pth")
    given = PreprocessingConfig(input_size=(64, 64))
    loaded = load(MODEL, str(folder / "mine.pth"), options=given)
    true = base_variant(loaded, given).changed(**TRUE, model_arg=("pad_type=same",))
    (scores,) = logits(folder, [true], images)
    state = network.state_dict()
    state["classifier.weight"] *= 30 / scores.std(0)[:, None]
    state["classifier.bias"] = -(scores - network.classifier.bias).mean(0) * 30 / scores.std(0)
    torch.save(state, folder / "mine.pth")
    changes = [change for _, variants in stages(loaded, given) for change in variants]
    others = distinct((true.changed(**change) for change in changes), [true])
    right, *wrong = logits(folder, [true, *others], images)
    classes = right.argmax(1)
    sure = right.softmax(1).amax(1) > 0.99
    changed = torch.stack([other.argmax(1) != classes for other in wrong]).double().sum(0)
    with (folder / "truth.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("image", "class_index"))
        for index in (changed * sure).argsort(descending=True)[:40].tolist():
            name = f"{int(classes[index])}/{index}.png"
            path = folder / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[index]).save(path)
            rows.writerow((name, int(classes[index])))
    return folder


def words(folder: Path, *more: str) -> tuple[object, ...]:
    weights = ("--weights", folder / "mine.pth", "--data", folder / "photos")
    return ("models", "check", MODEL, *weights, *GIVEN, *more)


def test_the_true_preprocessing_is_found_and_named_with_its_options(run: Run, foreign: Path) -> None:
    ended = run(*words(foreign, "--json"))
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    best, default = result["variants"][result["best"]], next(row for row in result["variants"] if row["default"])
    assert best["top1"]["value"] == 1.0
    assert default["top1"]["high"] < 1.0
    assert (best["mean"], best["std"], best["crop_pct"], best["interpolation"]) == (
        [0.5] * 3,
        [0.5] * 3,
        0.9,
        "bilinear",
    )
    assert best["model_args"] == ["pad_type=same"]
    accuracies = [row["top1"]["value"] for row in result["variants"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert result["options"] == [
        *("--mean", "0.5", "--std", "0.5", "--input-size", "64x64", "--interpolation", "bilinear"),
        *("--crop-pct", "0.9", "--model-arg", "pad_type=same"),
    ]
    assert result["images"] == result["available"] == 40
    photos = ("classify", foreign / "photos", "--model", MODEL, "--weights", foreign / "mine.pth", "--out", "o")
    ended = run(*photos, *result["options"], "--truth", foreign / "truth.csv", "--json")
    assert json.loads(ended.out)["accuracy"]["top1"]["value"] == 1.0


def test_the_table_and_the_line_to_copy(run: Run, foreign: Path) -> None:
    fixed = ("--mean", "0.5", "--std", "0.5", "--crop-pct", "0.9", "--limit", "10")
    ended = run(*words(foreign, *fixed, "--truth", str(foreign / "truth.csv")))
    assert ended.code == 0, ended.err
    assert "best: --mean 0.5 --std 0.5 --input-size 64x64" in ended.out
    assert "10 of 40 images, " in ended.out
    assert "10 images of 40 in" in ended.err
    assert {line.split()[3] for line in ended.out.splitlines() if line.split()[:2] == ["0.5", "0.5"]} == {"0.9"}


def test_an_unreadable_image_is_left_out_with_a_warning(run: Run, foreign: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in "0123":
        (folder / name).mkdir(parents=True)
        for source in sorted((foreign / "photos" / name).glob("*.png"))[:2]:
            (folder / name / source.name).write_bytes(source.read_bytes())
    (folder / "0/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    fixed = ("--mean", "0.5", "--std", "0.5", "--crop-pct", "0.9", "--interpolation", "bilinear")
    ended = run("models", "check", MODEL, "--weights", foreign / "mine.pth", "--data", folder, *GIVEN, *fixed, "--json")
    assert ended.code == 0, ended.err
    assert ended.err.count("warning: ") == 1
    (failed,) = json.loads(ended.out)["failed"]
    assert failed.endswith("0/broken.png")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("mine.pt",), "mine.pt"),
        (("timm:test_efficientnt",), "Did you mean 'timm:test_efficientnet'"),
        ((MODEL, "--truth", "none.csv"), "none.csv"),
    ],
)
def test_what_cannot_be_checked_gets_one_line(run: Run, foreign: Path, more: tuple[str, ...], message: str) -> None:
    ended = run("models", "check", *more, "--weights", "none", "--data", foreign / "photos")
    assert ended.code in (1, 2)
    assert message in ended.err
    assert ended.err.count("error:") == 1


def test_a_model_with_its_own_preprocessing_is_refused(run: Run, trained: Path, foreign: Path) -> None:
    ended = run("models", "check", trained, "--data", foreign / "photos")
    assert ended.code == 2
    assert "has its own preprocessing" in ended.err


def test_a_given_part_is_not_varied() -> None:
    given = CheckModelConfig(
        model=MODEL,
        data="d",
        mean=(0.0,) * 3,
        crop_pct=0.9,
        interpolation="bicubic",
        model_arg=("pad_type=same", "bn_eps=0.001"),
    )
    loaded = load(MODEL, "none", options=given)
    for name, changes in stages(loaded, given):
        assert all(set(change) <= {"mean", "std", "input_size"} for change in changes), name
        assert all(change.get("mean") in (None, (0.0,) * 3) for change in changes)


def test_a_network_without_padding_argument_is_tried_as_it_is() -> None:
    for model in ("timm:test_resnet", "squeezenet1_1"):
        loaded = load(model, "none")
        changes = [change for _, group in stages(loaded, PreprocessingConfig()) for change in group]
        assert not any("argument" in change for change in changes)


def test_the_loss_decides_between_accuracies_that_do_not_differ_significantly() -> None:
    def score(right: int, loss: float) -> Score:
        return Score(correct=(True,) * right + (False,) * (100 - right), loss=loss)

    assert select_best({"a": score(90, 0.5), "b": score(91, 0.6)}) == "a"
    assert select_best({"a": score(80, 0.1), "b": score(91, 0.6)}) == "b"
    assert select_best({"a": score(91, 0.6), "b": score(91, float("inf"))}) == "a"
    assert select_best({"a": score(91, 0.6), "b": score(91, 0.6)}) == "a"
